// Elements are made from texts only: nothing that a server says is ever read as HTML.

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function table(caption, heads, rows) {
  const head = make("tr", {}, ...heads.map((text) => text === "" ? make("td") : make("th", { scope: "col" }, text)));
  return make("div", { class: "box", tabindex: "0", role: "region", "aria-label": caption },
    make("table", {}, make("caption", {}, caption), make("thead", {}, head),
      make("tbody", {}, ...rows)));
}

export function row(first, cells, className = null) {
  return make("tr", { class: className }, make("th", { scope: "row" }, first),
    ...cells.map((cell) => cell instanceof HTMLTableCellElement ? cell : make("td", {}, cell ?? "")));
}

export function state(name) {
  const known = ["waiting", "running", "succeeded", "stopped", "failed", "interrupted"];
  return make("span", { class: `state ${known.includes(name) ? name : ""}` }, name);
}

export function link(text, ...parts) {
  return make("a", { href: "#/" + parts.map(encodeURIComponent).join("/") }, text);
}

export function pairs(caption, values) {
  const entries = Object.entries(values);
  if (!entries.length) return null;
  return table(caption, ["name", "value"], entries.map(([name, value]) => row(name, [String(value)])));
}
