// Shows the agent's events. Nothing is decided here.
import { browser, device } from "./capabilities.js";
import { facts, fail, figure, h, implementation, median, megabytes, milliseconds, progressBar, sentence } from "./elements.js";

const MAX_OUTCOMES = 12;
const MAX_TEXT = 160;

/** Requests at work, by id: what was asked, and how far it is. */
const requests = new Map();
/** First elements of outputs, by request and part. */
const heads = new Map();
/** Loaded models by name. */
const models = new Map();
/** Results and failures, newest first. */
const outcomes = [];
/** Whether WebGPU runs on the CPU here. */
let software = false;

const CONNECTIONS = {
  connecting: "connecting",
  open: "connected",
  lost: "connection lost",
  refused: "refused",
  closed: "session ended",
};

/** Takes one event of `startPage`. */
export function show(event) {
  switch (event.type) {
    case "connection":
      return showConnection(event);
    case "request":
      requests.set(event.message.id, { asked: event.message, progress: null });
      return showActivity();
    case "message":
      return showMessage(event.message);
    case "output":
      heads.set(`${event.id}/${event.part}`, event.head);
      return undefined;
    case "worker":
      models.clear();
      requests.clear();
      showActivity();
      showModels();
      return fail("The computing part of this page stopped", event.detail, "");
  }
  return undefined;
}

function showConnection({ state, detail, hint }) {
  const pill = document.getElementById("connection");
  pill.dataset.state = state;
  pill.textContent = CONNECTIONS[state] ?? state;
  pill.title = detail;
  if (state === "refused" || state === "closed") {
    requests.clear();
    if (state === "refused") fail("The host refused this page", detail, hint);
    for (const id of ["device", "browser"]) {
      const waiting = document.querySelector(`#${id} > .empty`);
      if (waiting) waiting.textContent = "Not known: there is no session.";
    }
  }
  showActivity(state, detail, hint);
}

function showMessage(message) {
  const request = requests.get(message.id);
  switch (message.type) {
    case "capabilities":
      return showCapabilities(message.capabilities);
    case "progress":
      if (request) request.progress = message;
      return showActivity();
    case "loaded":
      models.set(request?.asked.model ?? "?", message.report);
      showModels();
      break;
    case "ran":
      addResult(request?.asked, message);
      break;
    case "done":
      if (request?.asked.type === "unload") models.delete(request.asked.model);
      showModels();
      break;
    case "error":
      if (request) addOutcome({ asked: request.asked, error: message.error });
      else fail("This page failed", message.error.message, message.error.hint);
      break;
    default:
      return;
  }
  requests.delete(message.id);
  showActivity();
}

function showActivity(state = document.getElementById("connection").dataset.state, detail = "", hint = "") {
  const activity = document.getElementById("activity");
  if (requests.size === 0) {
    const idle = {
      open: "Idle. Waiting for the host to ask for something.",
      connecting: "Connecting to the host…",
      refused: "There is no session.",
      closed: `The session is over: ${detail || "the host ended it"}. ${hint ? sentence(hint) : ""}`,
    };
    activity.replaceChildren(h("p", { class: "empty" }, idle[state] ?? detail));
    return;
  }
  activity.replaceChildren(...[...requests.values()].map(showRequest));
}

function showRequest({ asked, progress }) {
  const verb = { load: "Loading", run: "Running", unload: "Unloading" }[asked.type];
  return progressBar(`${verb} ${asked.model}`, asked.type === "run" ? "preparing" : "starting", progress);
}

function showCapabilities(found) {
  const { adapter } = found.webgpu;
  software = adapter !== null && !adapter.hardware;
  document.getElementById("device").replaceChildren(...device(found));
  document.getElementById("browser").replaceChildren(...browser(found));
}

function showModels() {
  const list = [...models.entries()].map(([name, report]) =>
    h(
      "div",
      { class: "model" },
      h("p", { class: "name" }, name),
      implementation(report.implementation_type, software),
      facts([
        ["package", megabytes(report.package_bytes)],
        ["weights", megabytes(report.weights_bytes)],
        ["loaded in", `${milliseconds(report.total_ms)} (fetch ${milliseconds(report.fetch_ms)})`],
        ["wasm memory", megabytes(report.wasm_heap_bytes)],
      ]),
    ),
  );
  document.getElementById("models").replaceChildren(...(list.length ? list : [h("p", { class: "empty" }, "None is loaded.")]));
}

function addResult(asked, { id, report, times = [] }) {
  const outputs = report.outputs.map((info, part) => ({ info, head: heads.get(`${id}/${part}`) ?? [] }));
  heads.clear();
  // Times of very many runs go past this page as tensors.
  addOutcome({ asked, report, outputs, runs: times[0]?.shape[0] ?? report.run_ms.length });
}

/** Adds a result or a failure to the list. */
function addOutcome(outcome) {
  outcomes.unshift({ ...outcome, at: new Date() });
  outcomes.length = Math.min(outcomes.length, MAX_OUTCOMES);
  document.getElementById("results").replaceChildren(...outcomes.map(showOutcome));
}

function showOutcome(outcome, index) {
  const { asked, error, report, at } = outcome;
  const kind = error ? h("span", { class: "type", "data-kind": "error" }, error.code.replaceAll("_", " ")) : implementation(report.implementation_type, software);
  const time = h("time", { datetime: at.toISOString() }, at.toLocaleTimeString());
  const heading = h("header", {}, h("h3", {}, asked?.model ?? "?"), kind, time);
  const card = h("article", { class: index === 0 ? "result latest" : "result" }, heading);
  const text = asked?.type === "run" ? inputText(asked.input) : "";
  if (text) card.append(h("p", { class: "input" }, text));
  card.append(...(error ? showFailure(asked, error) : showResult(outcome)));
  return card;
}

function showFailure(asked, { message, hint }) {
  const verb = { load: "Loading", run: "Running", unload: "Unloading" }[asked?.type] ?? "The request";
  const lines = [h("p", { class: "failure" }, `${verb} failed: ${message}`)];
  if (hint) lines.push(h("p", { class: "hint" }, sentence(hint)));
  return lines;
}

function showResult({ report, outputs, runs }) {
  const figures = [["first", milliseconds(report.first_ms)]];
  const { run_ms } = report;
  if (runs) figures.unshift(["runs", runs]);
  if (run_ms.length) figures.unshift(["p50", milliseconds(median(run_ms))], ["fastest", milliseconds(run_ms.reduce((a, b) => Math.min(a, b)))]);
  if (report.gpu_ms) figures.push(["GPU p50", milliseconds(median(report.gpu_ms))]);
  if (report.dispatches) figures.push(["dispatches", report.dispatches]);
  if (report.token_counts.length) figures.push(["tokens", report.token_counts.reduce((a, b) => a + b, 0)]);
  const list = h("dl", { class: "figures" }, ...figures.map(([name, value]) => figure(name, value)));
  return [list, ...outputs.map(showOutput)];
}

function showOutput({ info, head }) {
  const shown = head.map((value) => value.toFixed(4)).join("  ");
  const more = info.shape.reduce((a, b) => a * b, 1) > head.length ? "  …" : "";
  return h(
    "p",
    { class: "output" },
    h("span", { class: "shape" }, `${info.name} [${info.shape.join(" × ")}]`),
    h("code", {}, shown + more),
  );
}

function inputText(input) {
  if (!input) return "";
  if (input.kind === "text") {
    const more = input.texts.length > 1 ? ` (and ${input.texts.length - 1} more)` : "";
    const [text] = input.texts;
    const shown = text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
    return `“${shown}”${more}`;
  }
  if (input.kind === "ids") return `${input.ids.length} row${input.ids.length === 1 ? "" : "s"} of token ids`;
  return `tensors ${input.tensors.map((info) => `${info.name} [${info.shape.join(" × ")}]`).join(", ")}`;
}
