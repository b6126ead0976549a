// Shows the agent's events. Nothing is decided here.

const MAX_OUTCOMES = 12;
const MAX_NOTICES = 4;
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

const STAGES = { fetch: "fetching weights", compile: "building pipelines", warmup: "warming up", run: "measuring" };
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

/** Shows something that went wrong. */
export function fail(title, message, hint) {
  const notices = document.getElementById("notices");
  const notice = h("div", { class: "notice" }, h("strong", {}, title), h("p", {}, message));
  if (hint) notice.append(h("p", { class: "hint" }, sentence(hint)));
  notices.prepend(notice);
  while (notices.children.length > MAX_NOTICES) notices.lastChild.remove();
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
      showDevice(message.capabilities);
      showBrowser(message.capabilities);
      return;
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
  const bar = h("progress", { "aria-label": `${verb} ${asked.model}` });
  let state = asked.type === "run" ? "preparing" : "starting";
  if (progress) {
    state = STAGES[progress.stage];
    if (progress.total > 0) {
      bar.max = progress.total;
      bar.value = progress.done;
      state += progress.stage === "fetch"
        ? ` · ${megabytes(progress.done)} of ${megabytes(progress.total)}`
        : ` · ${progress.done} of ${progress.total}`;
    }
  }
  const head = h("p", {}, h("strong", {}, `${verb} ${asked.model}`), h("span", { class: "state" }, state));
  return h("div", { class: "request" }, head, bar);
}

function showDevice({ webgpu }) {
  const device = document.getElementById("device");
  const adapter = webgpu.adapter;
  software = adapter !== null && !adapter.hardware;
  if (!adapter) {
    device.replaceChildren(
      h("p", { class: "badge", "data-kind": "none" }, "no WebGPU"),
      h("p", {}, webgpu.error ?? "The browser gave no adapter."),
      h("p", { class: "fine" }, "Models can still run on the CPU (platform wasm)."),
    );
    return;
  }
  const name = adapter.description || adapter.device || [adapter.vendor, adapter.architecture].filter(Boolean).join(" ");
  const badge = adapter.hardware
    ? h("p", { class: "badge", "data-kind": "hardware" }, "hardware GPU")
    : h("p", { class: "badge", "data-kind": "software" }, "software adapter");
  const rows = [
    ["vendor", adapter.vendor],
    ["architecture", adapter.architecture],
    ["subgroups", adapter.subgroup_size ? range(adapter.subgroup_size) : null],
    ["f16 in shaders", yesNo(adapter.features.includes("shader-f16"))],
    ["timestamps", yesNo(adapter.features.includes("timestamp-query"))],
    ["largest binding", megabytes(adapter.limits.maxStorageBufferBindingSize)],
    ["workgroup", `${adapter.limits.maxComputeInvocationsPerWorkgroup} invocations`],
  ];
  device.replaceChildren(badge, h("p", { class: "name" }, name || "an adapter without a name"), table(rows));
  if (!adapter.hardware) {
    device.append(h("p", { class: "fine" }, "WebGPU runs on the CPU here: results are right, times are not those of a GPU."));
  }
}

function showBrowser(found) {
  const webnn = Object.entries(found.webnn.devices)
    .map(([name, device]) => (device.created ? name : null))
    .filter(Boolean);
  const rows = [
    ["CPU threads", found.hardware_concurrency],
    ["WebNN", found.webnn.present ? (webnn.length ? webnn.join(", ") : "present, but no device answers") : "no"],
    ["WebGL", found.webgl.version || "no"],
    ["wasm SIMD", found.wasm.relaxed_simd ? "yes, relaxed too" : yesNo(found.wasm.simd)],
    ["wasm threads", yesNo(found.wasm.threads)],
    ["isolated", yesNo(found.cross_origin_isolated)],
    ["private files", yesNo(found.opfs)],
    ["memory", found.memory.device_gib ? `about ${found.memory.device_gib} GiB` : null],
  ];
  const browser = document.getElementById("browser");
  browser.replaceChildren(table(rows), h("p", { class: "fine agent" }, found.user_agent));
  if (found.webgl.renderer) browser.append(h("p", { class: "fine agent" }, found.webgl.renderer));
}

function showModels() {
  const list = [...models.entries()].map(([name, report]) =>
    h(
      "div",
      { class: "model" },
      h("p", { class: "name" }, name),
      implementation(report),
      table([
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
  const sorted = [...report.run_ms].sort((a, b) => a - b);
  const outputs = report.outputs.map((info, part) => ({ info, head: heads.get(`${id}/${part}`) ?? [] }));
  heads.clear();
  // Times of very many runs go past this page as tensors.
  const runs = times[0]?.shape[0] ?? sorted.length;
  addOutcome({ asked, report, outputs, runs, p50: median(sorted), min: sorted[0] });
}

/** Adds a result or a failure to the list. */
function addOutcome(outcome) {
  outcomes.unshift({ ...outcome, at: new Date() });
  outcomes.length = Math.min(outcomes.length, MAX_OUTCOMES);
  document.getElementById("results").replaceChildren(...outcomes.map(showOutcome));
}

function showOutcome(outcome, index) {
  const { asked, error, report, at } = outcome;
  const kind = error ? h("span", { class: "type", "data-kind": "error" }, error.code.replaceAll("_", " ")) : implementation(report);
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

function showResult({ report, outputs, runs, p50, min }) {
  const figures = [["first", milliseconds(report.first_ms)]];
  if (runs) figures.unshift(["runs", runs]);
  if (report.run_ms.length) figures.unshift(["p50", milliseconds(p50)], ["fastest", milliseconds(min)]);
  if (report.gpu_ms) figures.push(["GPU p50", milliseconds(median([...report.gpu_ms].sort((a, b) => a - b)))]);
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

/** What really ran, as the backend says. */
function implementation(report) {
  const kind = report.implementation_type;
  const types = [h("span", { class: "type", "data-kind": kind.startsWith("REAL") ? "real" : "simulated" }, kind)];
  if (kind === "REAL_WEBGPU" && software) types.push(h("span", { class: "type", "data-kind": "software" }, "software adapter"));
  return h("span", { class: "types" }, ...types);
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

/** An element with attributes and children; text is never taken for markup. */
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function table(rows) {
  const known = rows.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" }, ...known.map(([name, value]) => figure(name, value)));
}

function figure(name, value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, `${value}`));
}

/** Hints come as clauses. */
function sentence(clause) {
  return `${clause[0].toUpperCase()}${clause.slice(1)}${clause.endsWith(".") ? "" : "."}`;
}

function median(sorted) {
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function milliseconds(ms) {
  return ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${ms.toFixed(ms < 10 ? 2 : ms < 100 ? 1 : 0)} ms`;
}

function megabytes(bytes) {
  return bytes === undefined ? null : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : bytes < 1e9 ? 1 : 0)} MB`;
}

function range([least, most]) {
  return least === most ? `${least}` : `${least} to ${most}`;
}

function yesNo(value) {
  return value ? "yes" : "no";
}
