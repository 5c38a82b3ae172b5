// The forms for more trials. The answer is beside the button that was pressed; the status line of
// the page, which is read out, has it too.
import { link, make } from "./dom.js";

export function form(data, act) {
  const address = `/api/runs/${encodeURIComponent(data.run)}/requests`;
  const back = make("p", {}, link(`‹ ${data.run}`, "run", data.run));
  const title = `${data.run}: add trials`;
  const head = make("h1", {}, `Add trials to ${data.run}`);
  if (!data.takes_requests) return { title, nodes: [back, head, make("p", {}, "Only runs whose trials run on this machine take requests.")] };
  return { title, nodes: [back, head,
    make("p", { class: "soft" }, "What is added comes on top of the budget of the file. A run that has ended takes it up when it is resumed."),
    configuration(data, (values) => act(address, { kind: "next", values })),
    more((count) => act(address, { kind: "more", count })),
  ] };
}

function more(send) {
  const input = make("input", { type: "number", id: "count", min: 1, max: 10000, step: 1, value: 5, required: true });
  return shell("Add trials", [field("How many", input, "the search chooses their configurations", null)], "Add them", () => send(input.valueAsNumber));
}

function configuration(data, send) {
  const inputs = data.parameters.map((one) => [one, control(one)]);
  const fields = inputs.map(([one, input]) => field(one.name, input, one.allowed, one.when));
  const notes = [data.like ? `These are the values of ${data.like}.` : "", data.rules.length ? `Rules: ${data.rules.join("; ")}` : ""];
  return shell("Try this configuration next", [...notes.filter(Boolean).map((text) => make("p", { class: "soft" }, text)), ...fields], "Try it",
    () => send(Object.fromEntries(inputs.map(([one, input]) => [one.name, input.value]))));
}

function control(one) {
  const id = `value-${one.name}`;
  if (!one.choices.length) {
    const input = make("input", { type: "text", id, autocomplete: "off", spellcheck: "false" });
    input.value = one.value;
    return input;
  }
  const options = (one.when ? [""] : []).concat(one.choices);
  const select = make("select", { id }, ...options.map((text) => make("option", { value: text, selected: text === one.value }, text || "(none)")));
  return select;
}

function field(name, input, allowed, when) {
  const note = `note-${input.id}`;
  input.setAttribute("aria-describedby", note);
  return make("div", { class: "field" }, make("label", { for: input.id }, name), input,
    make("span", { class: "soft", id: note }, (allowed ?? "") + (when ? `; only if ${when}` : "")));
}

function shell(name, fields, text, send) {
  const said = make("p", { class: "said" });
  const button = make("button", { type: "submit" }, text);
  const submit = async (event) => {
    event.preventDefault();
    button.setAttribute("aria-disabled", "true");
    const found = await send();
    button.removeAttribute("aria-disabled");
    said.className = found.done ? "said" : "said refused";
    said.textContent = found.text;
  };
  return make("form", { "aria-label": name, onsubmit: (event) => {
    if (button.getAttribute("aria-disabled")) event.preventDefault();
    else submit(event);
  } }, make("h2", {}, name), ...fields, button, said);
}
