// Line charts as SVG, small enough to be drawn again at each update.
import { make } from "./dom.js";

const NS = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT] = [480, 220, 52, 26, 10, 10];
const COLOURS = 6;

function draw(tag, properties, text = null) {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(properties)) element.setAttribute(name, String(value));
  if (text !== null) element.textContent = text;
  return element;
}

function span(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
}

// Six colours, and the same dashed.
function style(index) {
  return `c${index % COLOURS}` + (index % (2 * COLOURS) < COLOURS ? "" : " dashed");
}

function short(value) {
  return Number(value.toPrecision(3)).toString();
}

// A staircase shows what holds until it changes, such as the best value so far.
export function chart(title, xTitle, series, isStaircase = false) {
  const shown = series.filter((one) => one.points.length);
  if (!shown.length) return null;
  const points = shown.flatMap((one) => one.points);
  const [x0, x1] = span(points.map((point) => point[0]));
  const [y0, y1] = span(points.map((point) => point[1]));
  const x = (value) => LEFT + (value - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - (value - y0) / (y1 - y0) * (HEIGHT - BOTTOM - TOP);
  const last = shown.map((one) => `${one.name} ends at ${short(one.points.at(-1)[1])}`).join("; ");
  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${last}` });
  for (const share of [0, 0.5, 1]) {
    const [xExact, yValue] = [x0 + share * (x1 - x0), y0 + share * (y1 - y0)];
    const xValue = points.every((point) => Number.isInteger(point[0])) ? Math.round(xExact) : xExact;
    svg.append(
      draw("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(yValue), y2: y(yValue) }),
      draw("text", { x: LEFT - 6, y: y(yValue) + 4, "text-anchor": "end" }, short(yValue)),
      draw("text", { x: x(xValue), y: HEIGHT - 8, "text-anchor": share === 1 ? "end" : share ? "middle" : "start" }, short(xValue)));
  }
  shown.forEach((one, index) => {
    const colour = style(index);
    const path = one.points.map(([a, b], i) => `${i ? isStaircase ? `H${x(a).toFixed(1)}L` : "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
    svg.append(draw("path", { class: `line ${colour}`, d: path }));
    const [a, b] = one.points.at(-1);
    svg.append(draw("circle", { class: `dot ${colour}`, cx: x(a), cy: y(b), r: 3 }));
  });
  return make("figure", {}, make("figcaption", {}, `${title} by ${xTitle}`), svg, legend(shown));
}

function legend(shown) {
  if (shown.length < 2) return null;
  return make("ul", { class: "legend" }, ...shown.map((one, index) => {
    const mark = draw("svg", { viewBox: "0 0 22 10", "aria-hidden": "true" });
    mark.append(draw("line", { class: `line ${style(index)}`, x1: 0, x2: 22, y1: 5, y2: 5 }));
    return make("li", {}, mark, " ", one.name);
  }));
}
