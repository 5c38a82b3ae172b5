// Shows what the address names, and asks again every two seconds; an answer that has not changed
// costs nothing, and what has the focus keeps it.
import { comparison } from "./comparison.js";
import { link, make } from "./dom.js";
import { form } from "./forms.js";
import * as views from "./views.js";

const EVERY = 2000;
const HELD = 20000; // how long the answer to an action stays
const main = document.getElementById("main");
const status = document.getElementById("status");
let etag = null;
let shown = null;
let timer = null;
let heldUntil = 0;

function route() {
  const parts = location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decode);
  const encoded = parts.slice(1).map(encodeURIComponent);
  if (!parts.length) return ["/api/runs", views.runs];
  if (parts[0] === "models") return ["/api/models", views.models];
  if (parts[0] === "compare") return ["/api/compare?" + encoded.map((name) => "run=" + name).join("&"), (data) => comparison(data, (name) => link(name, "run", name))];
  if (parts[0] === "add") return [`/api/runs/${encoded[0]}/form?trial=${encoded[1] ?? ""}`, form];
  if (parts[0] === "run" && parts.length === 2) return [`/api/runs/${encoded[0]}`, views.run];
  if (parts[0] === "run" && parts.length === 3) return [`/api/runs/${encoded[0]}/trials/${encoded[1]}`, views.trial];
  return ["/api/runs", views.runs];
}

function decode(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

function say(text) {
  if (!text && Date.now() < heldUntil) return;
  if (status.textContent !== text) status.textContent = text;
}

async function update() {
  clearTimeout(timer);
  const [address, view] = route();
  const isNew = address !== shown;
  if (!isNew && view === form) return; // what a person has typed stays
  try {
    const headers = isNew || !etag ? {} : { "If-None-Match": etag };
    const answer = await fetch(address, { headers });
    if (address !== route()[0]) return;
    if (answer.status === 304) say("");
    else if (!answer.ok) fail((await answer.json()).error, isNew);
    else show(view, await answer.json(), answer.headers.get("ETag"), address, isNew);
  } catch {
    say("The server does not answer; what is shown may be old.");
  }
  if (!document.hidden) timer = setTimeout(update, EVERY);
}

function fail(text, isNew) {
  say(text);
  if (isNew) main.replaceChildren(make("h1", {}, "Not there"), make("p", {}, text));
}

function show(view, data, tag, address, isNew) {
  const focus = isNew ? -1 : places().indexOf(document.activeElement);
  const scrolls = isNew ? [] : [...main.querySelectorAll(".box, pre")].map((one) => [one.scrollLeft, one.scrollTop]);
  const { title, nodes } = view(data, act);
  document.title = title;
  main.replaceChildren(...nodes.filter(Boolean));
  [...main.querySelectorAll(".box, pre")].forEach((one, i) => { if (scrolls[i]) [one.scrollLeft, one.scrollTop] = scrolls[i]; });
  if (focus >= 0) places()[focus]?.focus({ preventScroll: true });
  if (isNew && shown !== null) main.focus();
  [etag, shown] = [tag, address];
  say("");
}

function places() {
  return [...main.querySelectorAll("a, button, input, select, [tabindex]")];
}

// Returns what was said, and whether it was done.
async function act(address, content = null) {
  let text = "The server does not answer; nothing was done.", done = false;
  say("Asked; the answer follows.");
  try {
    const answer = await fetch(address, { method: "POST", headers: { "X-HPO": "1" }, body: content && JSON.stringify(content) });
    const found = await answer.json();
    text = found.said ?? found.error;
    done = answer.ok && !text.startsWith("refused");
  } catch { /* as said above */ }
  heldUntil = Date.now() + HELD;
  say(text);
  return { text, done };
}

addEventListener("hashchange", update);
document.addEventListener("visibilitychange", update);
update();
