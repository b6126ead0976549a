// Tables of the report; `charts.js` goes before.
const rows = JSON.parse(document.getElementById("rows").textContent);

// Name of a model that nobody knows.
const UNREAD = "–";

const number = (value, digits) => (value === null ? "–" : value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: digits }));
const time = (value) => number(value, value >= 100 ? 0 : value >= 10 ? 1 : 2);
const megabytes = (value) => number(value === null ? null : value / 1e6, 1);

// Every reason once, in the order of the rows that have it.
const NOTES = unique(rows.flatMap((row) => row.notes));

// Heading, what a cell says, what it is sorted by (for figures), its class.
const COLUMNS = [
  ["browser", (row) => row.browser],
  ["platform", (row) => row.platform],
  ["engine", (row) => row.engine],
  ["model", (row) => row.model],
  ["bits", (row) => row.bits + (row.asked_bits ? ` (asked ${row.asked_bits})` : ""), (row) => bitsOf(row.bits)],
  ["format", (row) => row.format || "–"],
  ["ran as", ranAs, null, kindOf],
  ["batch", (row) => row.batch ?? "–", (row) => row.batch],
  ["tokens", (row) => row.sequence_length ?? "–", (row) => row.sequence_length],
  ["start ms", (row) => time(row.start_ms), (row) => row.start_ms],
  ["load ms", (row) => time(row.load_ms), (row) => row.load_ms],
  ["first ms", (row) => time(row.first_ms), (row) => row.first_ms],
  ["p50 ms", (row) => time(row.p50_ms), (row) => row.p50_ms],
  ["p90 ms", (row) => time(row.p90_ms), (row) => row.p90_ms],
  ["min ms", (row) => time(row.min_ms), (row) => row.min_ms],
  ["runs", (row) => row.runs ?? "–", (row) => row.runs],
  ["GPU ms", (row) => time(row.gpu_ms), (row) => row.gpu_ms],
  ["ratio", (row) => (row.ratio ? `${number(row.ratio.of_medians, 2)} × ${row.ratio.to}` : "–"), (row) => row.ratio && row.ratio.of_medians],
  ["weights MB", (row) => megabytes(row.weights_bytes), (row) => row.weights_bytes],
  ["GPU MB", (row) => megabytes(row.gpu_peak_bytes), (row) => row.gpu_peak_bytes],
  ["wasm MB", (row) => megabytes(row.wasm_heap_bytes), (row) => row.wasm_heap_bytes],
  ["RSS MB", (row) => megabytes(row.browser_rss_bytes), (row) => row.browser_rss_bytes],
  ["PSS MB", (row) => megabytes(row.browser_pss_bytes), (row) => row.browser_pss_bytes],
  ["cosine to f32", (row) => number(row.cosine, 4), (row) => row.cosine],
];
// A column is shown where it says something; some, where their rows differ.
const ALIKE = ["engine", "model", "batch", "tokens", "runs"];
const used = ([name, text]) => (ALIKE.includes(name) ? unique(rows.map(text)).length > 1 : rows.some((row) => text(row) !== "–"));
const SHOWN = COLUMNS.filter(used);

function ranAs(row) {
  return row.implementation_type === null ? "did not run" : row.implementation_type + (row.adapter ? `, ${row.adapter}` : "");
}
function kindOf(row) {
  if (row.implementation_type === null || row.p50_ms === null) return "failed";
  if (row.implementation_type.startsWith("SIMULATED")) return "simulated";
  return row.adapter === "software" ? "software" : "real";
}

let sorted = { column: null, down: false };

function shownRows() {
  const model = document.getElementById("model").value;
  // What failed before its model was known belongs to every model.
  return model === "" ? rows : rows.filter((row) => row.model === model || row.model === UNREAD);
}

function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

// The number of a reason, which leads to it.
function mark(note) {
  const made = document.createElement("sup");
  const link = element("a", NOTES.indexOf(note) + 1);
  link.href = `#note-${NOTES.indexOf(note) + 1}`;
  link.title = note;
  made.append(" ", link);
  return made;
}

function heading([name, , value], column) {
  const cell = document.createElement("th");
  cell.scope = "col";
  cell.className = value ? "number" : "";
  if (sorted.column === column) cell.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
  const button = element("button", name);
  button.type = "button";
  button.addEventListener("click", () => {
    sorted = { column, down: sorted.column === column && !sorted.down };
    table();
  });
  cell.append(button);
  return cell;
}

function sortedRows() {
  const listed = [...shownRows()];
  if (sorted.column === null) return listed;
  const [, text, value] = SHOWN[sorted.column];
  const of = value ?? ((row) => String(text(row)));
  const order = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b));
  const missing = (one) => one === null || Number.isNaN(one);
  return listed.sort((a, b) => {
    const [x, y] = [of(a), of(b)];
    // What was not measured comes last either way.
    if (missing(x) || missing(y)) return missing(x) - missing(y);
    return sorted.down ? order(y, x) : order(x, y);
  });
}

function table() {
  const head = document.createElement("tr");
  head.append(...SHOWN.map(heading));
  document.querySelector("#table thead").replaceChildren(head);
  document.querySelector("#table tbody").replaceChildren(...sortedRows().map((row) => {
    const line = document.createElement("tr");
    for (const [name, text, value, kind] of SHOWN) {
      const cell = element("td", text(row), [value ? "number" : "", kind ? kind(row) : ""].join(" ").trim());
      if (name === "ran as") cell.append(...row.notes.map(mark));
      line.append(cell);
    }
    return line;
  }));
  const shown = new Set(shownRows().flatMap((row) => row.notes));
  document.getElementById("notes").replaceChildren(...NOTES.flatMap((note, ix) => {
    if (!shown.has(note)) return [];
    const item = element("li", note);
    [item.id, item.value] = [`note-${ix + 1}`, ix + 1];
    return [item];
  }));
}

const KINDS = [["real", "real"], ["software", "real, software adapter"], ["simulated", "simulated on the CPU"], ["failed", "did not run"]];

// Browsers by platforms: which bits ran, and how.
function grid() {
  const shown = shownRows();
  const platforms = unique(shown.map((row) => row.platform));
  const head = document.createElement("tr");
  head.append(element("th", "browser"), ...platforms.map((name) => element("th", name)));
  document.querySelector("#grid thead").replaceChildren(head);
  document.querySelector("#grid tbody").replaceChildren(...unique(shown.map((row) => row.browser)).map((browser) => {
    const line = document.createElement("tr");
    line.append(element("th", browser), ...platforms.map((platform) => {
      const cell = document.createElement("td");
      const here = shown.filter((row) => row.browser === browser && row.platform === platform);
      for (const [kind, words] of KINDS) {
        const of = here.filter((row) => kindOf(row) === kind);
        const bits = unique(of.map((row) => row.asked_bits ?? row.bits)).sort(byBits);
        if (bits.length === 0) continue;
        const said = element("span", `${words}: ${bits.join(", ")}`, kind);
        said.append(...unique(of.flatMap((row) => row.notes)).map(mark));
        cell.append(said);
      }
      if (here.length === 0) cell.textContent = "–";
      return cell;
    }));
    return line;
  }));
}

function tiles() {
  const shown = shownRows();
  const count = (kind) => shown.filter((row) => kindOf(row) === kind).length;
  const entries = [
    [count("real") + count("software"), "ran for real"],
    [count("software"), "of these on a software adapter"],
    [count("simulated"), "simulated on the CPU"],
    [count("failed"), "did not run"],
  ];
  const compared = shown.filter(asAsked);
  const fastest = compared.filter((row) => sizeOf(row) === usualSize(compared)).sort((a, b) => a.p50_ms - b.p50_ms)[0];
  if (fastest) entries.push([`${time(fastest.p50_ms)} ms`, `fastest, batch ${fastest.batch} of ${fastest.sequence_length} tokens: ${fastest.series}, ${fastest.bits} bits`]);
  document.getElementById("tiles").replaceChildren(...entries.map(([value, text]) => {
    const tile = element("div", "", "tile");
    tile.append(element("b", value), element("span", text));
    return tile;
  }));
}

// What must be known to read what is shown, and nothing of what is not there.
function captions() {
  const shown = shownRows();
  const say = (id, ...parts) => { document.getElementById(id).textContent = parts.filter(Boolean).join(" "); };
  const simulated = shown.some((row) => kindOf(row) === "simulated");
  const int8 = shown.some((row) => row.bits.includes("/"));
  say("grid-about", `Bits of the weights by what came of them${int8 ? "; 8/8 has activations in int8 too" : ""}.`);
  say("latency-left-out", simulated && " Simulations are left out.");
  const dash = SHOWN.some(([, text]) => shown.some((row) => text(row) === "–"));
  const has = (name) => SHOWN.some(([column]) => column === name);
  say(
    "rows-about",
    "Every combination that was asked for, with what really ran; click a heading to sort.",
    dash && "A dash was not measured.",
    simulated && "Times of simulations are those of the CPU that stood in.",
    has("wasm MB") && "Memory of wasm never shrinks, so it is that of the browser's session so far.",
    has("RSS MB") && "Memory of a browser (RSS) is that of all its processes.",
    has("PSS MB") && "PSS has shared pages divided among them.",
  );
}

// A table that is cut says so, on the side where it is.
function watchEdges(box) {
  const tell = () => {
    const { scrollLeft, scrollWidth, clientWidth } = box;
    box.parentElement.toggleAttribute("data-left", scrollLeft > 1);
    box.parentElement.toggleAttribute("data-right", scrollLeft + clientWidth < scrollWidth - 1);
  };
  box.addEventListener("scroll", tell);
  const watch = new ResizeObserver(tell);
  watch.observe(box);
  watch.observe(box.firstElementChild);
}

function show() {
  captions();
  tiles();
  grid();
  drawAll(shownRows());
  table();
}

const models = unique(rows.map((row) => row.model)).filter((name) => name !== UNREAD);
const choice = document.getElementById("model");
choice.replaceChildren(...["", ...models].map((name) => new Option(name === "" ? "all" : name, name)));
if (models.length > 1) {
  document.getElementById("filter").hidden = false;
  // The first that ran at all.
  choice.value = models.find((name) => rows.some((row) => row.model === name && isReal(row))) ?? models[0];
}
choice.addEventListener("change", show);
document.getElementById("phase-bits").addEventListener("change", () => drawAll(shownRows()));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(shownRows()));
document.querySelectorAll(".scroll").forEach(watchEdges);
show();
