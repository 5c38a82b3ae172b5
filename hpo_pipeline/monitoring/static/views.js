// One function for each kind of page: data in, elements out.
import { chart } from "./charts.js";
import { link, make, pairs, row, state, table } from "./dom.js";

const chosen = new Set();

export function runs(data) {
  const button = make("button", { type: "button", onclick: () => {
    location.hash = "#/compare/" + [...chosen].map(encodeURIComponent).join("/");
  } }, "Compare the chosen runs");
  const update = () => { button.disabled = chosen.size < 2 || chosen.size > 6; };
  const rows = data.runs.map((run) => {
    const box = make("input", { type: "checkbox", "aria-label": `Compare ${run.name}`, onchange: (event) => {
      if (event.target.checked) chosen.add(run.name); else chosen.delete(run.name);
      update();
    } });
    box.checked = chosen.has(run.name);
    return row(link(run.name, "run", run.name), [state(run.state), counts(run), run.best ?? "",
      run.objectives.join(", "), run.seconds, date(run.changed), box]);
  });
  update();
  const unread = data.unread ? `${data.unread} more being read` : "";
  if (!rows.length && unread) return { title: "Runs", nodes: [make("h1", {}, "Runs"), make("p", {}, unread)] };
  if (!rows.length) return { title: "Runs", nodes: [make("h1", {}, "Runs"), make("p", {}, "No runs here yet. `hpo run FILE` makes one.")] };
  return { title: "Runs", nodes: [make("h1", {}, "Runs"),
    table(`${rows.length} runs, the latest first${unread && `; ${unread}`}`, ["run", "state", "trials", "best", "objective", "search time", "changed", "compare"], rows), button] };
}

export function run(data, act) {
  const stop = data.state !== "running" ? null : make("button", { type: "button", onclick: () => {
    if (confirm(`Stop the run ${data.name}? Its finished trials are kept, and the same command resumes it.`)) act(`/api/runs/${encodeURIComponent(data.name)}/stop`);
  } }, "Stop this run");
  const add = data.takes_requests ? link("Add trials or a configuration", "add", data.name) : null;
  const more = data.hidden ? `, ${data.hidden} more are not shown` : "";
  return { title: `${data.name}: ${data.state}`, nodes: [
    make("h1", {}, data.name), make("p", {}, state(data.state), ` ${data.reason ?? ""} `, stop, " ", add),
    make("p", { class: "soft" }, `${counts(data)}; search time ${data.seconds}; objective ${data.objectives.join(", ")}` + (data.constraints.length ? `; ${data.constraints.join("; ")}` : "")),
    make("div", { class: "charts" }, ...[chart("Best so far", "trial", [{ name: data.name, points: data.history }], true), chart("Curves of the best and the running trials", data.along, data.curves)].filter(Boolean)),
    table(`Running trials, then the best first${more}`, ["trial", "state", "place", "value", "progress", "time", "assignments, reason"], data.trials.map((trial) => trialRow(data, trial))),
    data.requests.length ? table("What people asked, the latest first", ["request", "answer"], data.requests.map((one) => row(make("span", { class: "words" }, one.asked), [make("td", { class: "wide" }, one.said)]))) : null,
    pairs("The winner on the test rows", data.test),
    data.registered ? make("p", {}, `Registered as ${data.registered}.`) : null,
  ] };
}

function trialRow(data, trial) {
  const bar = trial.done === null ? null : make("progress", { value: trial.done, max: 1, "aria-label": `Progress of ${trial.name}` });
  const progress = make("td", {}, bar, bar ? make("br") : null, trial.progress ?? "");
  const value = make("td", { class: trial.misses ? "misses" : null }, trial.value ?? "", trial.misses ? " misses a constraint" : "");
  const details = make("td", { class: "wide" }, trial.reason ? `${trial.reason} · ` : "", trial.assignments);
  return row(link(trial.name, "run", data.name, trial.name), [state(trial.state), String(trial.place ?? ""), value, progress, trial.seconds, details], trial.name === data.winner ? "best" : null);
}

export function trial(data, act) {
  const ask = (request) => act(`/api/runs/${encodeURIComponent(data.run)}/requests`, request);
  const stop = data.state !== "running" ? null : make("button", { type: "button", onclick: () => {
    if (confirm(`Stop ${data.name}? It evaluates once more, and its best result is kept.`)) ask({ kind: "stop", trial: data.name });
  } }, "Stop this trial");
  const again = data.state === "running" ? null : make("button", { type: "button", onclick: () => {
    if (confirm(`Train the configuration of ${data.name} once more, as a new trial?`)) ask({ kind: "again", trial: data.name });
  } }, "Run this trial again");
  const like = link("Try a configuration like it", "add", data.run, data.name);
  const actions = data.takes_requests ? [stop, again, " ", like] : [];
  return { title: `${data.name}: ${data.state}`, nodes: [
    make("p", {}, link(`‹ ${data.run}`, "run", data.run)), make("h1", {}, data.name),
    make("p", {}, state(data.state), ` ${data.value ?? ""} ${data.progress ?? ""} ${data.reason ?? ""} `, ...actions.filter(Boolean)),
    make("div", { class: "charts" }, ...[chart(data.objectives[0], data.along, data.curves)].filter(Boolean)),
    pairs("Configuration", data.values), pairs("Metrics", data.metrics),
    pairs("Seconds by phase", data.phases), pairs("Computed with", data.environment),
    make("h2", { id: "log" }, "End of the log"),
    data.log ? make("pre", { tabindex: "0", role: "region", "aria-labelledby": "log" }, data.log) : make("p", {}, "There is no log."),
  ] };
}

export function models(data) {
  const nodes = [make("h1", {}, "Models")];
  if (!data.models.length) nodes.push(make("p", {}, "No registered models."));
  for (const model of data.models) {
    const test = (one) => Object.entries(one.test).map(([n, v]) => `${n} ${Number(v.toPrecision(4))}`).join(", ");
    nodes.push(make("h2", {}, model.name),
      table(`Versions of ${model.name}; champion: ${model.champion ?? "none"}`, ["version", "stage", "created", "experiment", "trial", "test metrics"], model.versions.map((one) => row(String(one.version), [one.stage, one.created.slice(0, 19), one.experiment, one.trial, make("td", { class: "wide" }, test(one))], one.version === model.champion ? "best" : null))),
      table(`History of ${model.name}`, ["time", "version", "what", "why"], model.history.map((one) => row(one.time.slice(0, 19), [String(one.version), one.kind, one.reason]))));
  }
  return { title: "Models", nodes };
}

function counts(one) {
  const words = Object.entries(one.counts).map(([name, count]) => `${count} ${name}`).join(", ");
  return `${words || "none"} of ${one.planned}`;
}

function date(seconds) {
  return new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ") + " UTC";
}
