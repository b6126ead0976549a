// Shows what came of a run. Nothing is decided here.
import { adapterName, browser, device } from "../capabilities.js";
import { figure, h, implementation, median, megabytes, milliseconds, progressBar, scrollable, sentence } from "../elements.js";

/** Numbers of a vector, texts of a batch and rows of the history that are shown. */
const SHOWN_NUMBERS = 6;
const SHOWN_TEXTS = 12;
const SHOWN_ROWS = 20;

/** Answers so far, newest first. */
const history = [];

/** The pill: a state of the style sheet, and words. */
export function showState(state, words) {
  const pill = document.getElementById("state");
  pill.dataset.state = state;
  pill.textContent = words;
}

export function showCapabilities(found) {
  document.getElementById("device").replaceChildren(...device(found));
  document.getElementById("browser").replaceChildren(...browser(found));
}

export function showProgress(title, words, progress) {
  document.getElementById("progress").replaceChildren(progressBar(title, words, progress));
}

export function showFailure({ asked, code, message, hint }) {
  const kind = h("span", { class: "type", "data-kind": "error" }, code.replaceAll("_", " "));
  const card = h("article", { class: "result", "data-outcome": "error" }, heading(asked, kind), h("p", { class: "failure" }, message));
  if (hint) card.append(h("p", { class: "hint" }, sentence(hint)));
  document.getElementById("answer").replaceChildren(card);
}

export function showAnswer(answer) {
  const { asked, loaded, outputs, report } = answer;
  const software = loaded.adapter !== null && !loaded.adapter.hardware;
  const card = h("article", { class: "result latest", "data-outcome": "answer" }, heading(asked, implementation(report.implementation_type, software)));
  card.append(...remarks(answer, software).map((text) => h("p", { class: "remark" }, text)), figures(loaded, report));
  for (const [name, { shape, data }] of Object.entries(outputs)) {
    const isEmbedding = shape.length === 2 && shape[0] === asked.texts.length;
    card.append(...(isEmbedding ? embeddings(name, shape, data, asked.texts) : tensor(name, shape, data)));
  }
  document.getElementById("answer").replaceChildren(card);
  history.unshift(answer);
  history.length = Math.min(history.length, SHOWN_ROWS);
  showHistory();
}

function heading({ name, weights, platform }, kind) {
  return h("header", {}, h("h3", {}, name), kind, h("span", { class: "fine" }, `${weights} · ${platform}`));
}

/** What one must know to read the figures. */
function remarks({ loaded, report }, software) {
  const remarks = [];
  if (loaded.adapter) {
    const kind = software ? "a software adapter: the numbers are right, the times say nothing about a GPU" : "a hardware adapter";
    remarks.push(`On ${adapterName(loaded.adapter)}, ${kind}.`);
  }
  const webnn = report.webnn ?? loaded.webnn;
  if (webnn) {
    const devices = webnn.reported_devices ? `, by the browser's word on ${webnn.reported_devices.join(", ")}` : "";
    remarks.push(`WebNN device ${webnn.requested}${devices}; lowering ${webnn.lowering}.`);
  }
  if (report.variants.threads) remarks.push(`On the CPU, ${report.variants.product ?? ""} with ${count(Number(report.variants.threads), "thread")}.`);
  if (report.warmup.steady === false) remarks.push("Times were not steady yet when warming up ended: they say little.");
  if (report.truncated) remarks.push("Texts over the model's limit were cut.");
  return [...remarks, ...report.adjustments.map(({ option, value, reason }) => `Option ${option} was set to ${value}: ${reason}.`)];
}

function figures(loaded, report) {
  const { run_ms } = report;
  const p50 = run_ms.length ? `p50 of ${run_ms.length}` : "p50";
  const rows = [
    [p50, milliseconds(median(run_ms))],
    ["first", milliseconds(report.first_ms)],
    ["load", milliseconds(loaded.total_ms)],
    ["tokens", report.token_counts.reduce((a, b) => a + b, 0)],
    ["weights", megabytes(loaded.weights_bytes)],
  ];
  return h("dl", { class: "figures" }, ...rows.map(([name, value]) => figure(name, value)));
}

/** First numbers of each vector, and how alike they are. */
function embeddings(name, [, width], data, texts) {
  const vectors = texts.map((_, ix) => data.subarray(ix * width, (ix + 1) * width));
  const items = vectors.slice(0, SHOWN_TEXTS).map((vector, ix) =>
    h("li", { class: "vector" }, h("p", {}, texts[ix]), h("code", {}, firstNumbers(vector))));
  const shown = [h("p", { class: "output shape" }, `${name} [${texts.length} × ${width}]`), h("ol", { class: "vectors" }, ...items), more(texts)];
  return texts.length > 1 ? [...shown, similarities(vectors.slice(0, SHOWN_TEXTS))] : shown;
}

function more(texts) {
  return texts.length > SHOWN_TEXTS ? h("p", { class: "fine" }, `The first ${SHOWN_TEXTS} of ${texts.length} texts are shown.`) : "";
}

function similarities(vectors) {
  const number = (ix) => h("th", { scope: "col" }, `${ix + 1}`);
  const rows = vectors.map((one, ix) => {
    const cells = vectors.map((other) => {
      const value = cosine(one, other);
      const cell = h("td", {}, value.toFixed(3));
      cell.style.setProperty("--heat", `${Math.round(100 * Math.max(0, value))}%`);
      return cell;
    });
    return h("tr", {}, h("th", { scope: "row" }, `${ix + 1}`), ...cells);
  });
  const head = h("thead", {}, h("tr", {}, h("th", {}, ""), ...vectors.map((_, ix) => number(ix))));
  const caption = h("caption", {}, "Cosine similarity of the texts, by their numbers");
  return scrollable(h("table", { class: "similarities" }, caption, head, h("tbody", {}, ...rows)));
}

function cosine(a, b) {
  let [product, ofA, ofB] = [0, 0, 0];
  for (let ix = 0; ix < a.length; ix++) {
    product += a[ix] * b[ix];
    ofA += a[ix] * a[ix];
    ofB += b[ix] * b[ix];
  }
  return product / Math.sqrt(ofA * ofB);
}

/** Anything else: hidden states by their shape. */
function tensor(name, shape, data) {
  return [h("p", { class: "output" }, h("span", { class: "shape" }, `${name} [${shape.join(" × ")}]`), h("code", {}, firstNumbers(data)))];
}

function firstNumbers(data) {
  const shown = [...data.subarray(0, SHOWN_NUMBERS)].map((value) => value.toFixed(4)).join("  ");
  return data.length > SHOWN_NUMBERS ? `${shown}  …` : shown;
}

function showHistory() {
  if (history.length < 2) return;
  const head = ["model", "weights", "ran as", "texts", "load", "first", "p50"];
  const rows = history.map(({ asked, loaded, report }) => {
    const software = loaded.adapter !== null && !loaded.adapter.hardware;
    const times = [loaded.total_ms, report.first_ms, median(report.run_ms)].map((ms) => h("td", { class: "number" }, milliseconds(ms)));
    const texts = h("td", { class: "number" }, `${asked.texts.length}`);
    return h("tr", {}, h("td", {}, asked.name), h("td", {}, asked.weights), h("td", {}, implementation(report.implementation_type, software)), texts, ...times);
  });
  const cells = head.map((name, ix) => h("th", { scope: "col", class: ix > 2 ? "number" : "" }, name));
  const table = h("table", { class: "rows" }, h("thead", {}, h("tr", {}, ...cells)), h("tbody", {}, ...rows));
  document.getElementById("history").replaceChildren(h("h2", {}, "Runs so far"), scrollable(table));
}

function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
