// Runs side by side: on the live page, and alone in the file that `hpo compare --html` writes.
import { chart } from "./charts.js";
import { make, row, state, table } from "./dom.js";

export function comparison(data, title = (name) => name) {
  const series = data.runs.map((name, i) => ({ name, points: data.histories[i] }));
  const best = data.objective ? chart(`Best so far: ${data.objective}`, "trial", series, true) : null;
  const [first, ...others] = data.tables.map((one) => lines(one, ["", ...data.runs.map(title)]));
  return { title: `Comparison: ${data.runs.join(", ")}`, nodes: [make("h1", {}, "Comparison"),
    ...data.notes.map((text) => make("p", { class: "note" }, text)),
    first, best ? make("div", { class: "charts" }, best) : null, ...others,
    make("p", { class: "soft" }, "Grey lines are the same in all runs. A star marks the best value, where its 95 % interval is clear of the others.")] };
}

function lines(one, heads) {
  const rows = one.rows.map((line) => row(line.name, line.cells.map((text, i) => cell(line, text, i)), line.differs ? null : "soft"));
  const box = table(one.title, heads, rows);
  box.classList.add("compared");
  return box;
}

function cell(line, text, i) {
  const content = line.name === "state" ? state(text) : text;
  return make("td", { class: i === line.best ? "best" : null }, content, i === line.best ? " ★" : "");
}
