"use strict";
const rows = JSON.parse(document.getElementById("rows").textContent);

// Okabe and Ito's colours, told apart by most eyes, on light and on dark paper.
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c1c", "#7f7f7f"];
// Name of a model that was not read.
const UNREAD = "-";
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const number = (value, digits) => (value === null ? "–" : value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: digits }));
const time = (value) => number(value, value >= 100 ? 0 : value >= 10 ? 1 : 2);
const megabytes = (value) => number(value === null ? null : value / 1e6, 1);

const COLUMNS = [
  ["browser", (row) => row.browser],
  ["platform", (row) => row.platform],
  ["engine", (row) => row.engine],
  ["model", (row) => row.model],
  ["bits", (row) => row.bits, bitsOf],
  ["ran as", ranAs, null, kindOf],
  ["batch", (row) => row.batch ?? "–", (row) => row.batch],
  ["tokens", (row) => row.sequence_length ?? "–", (row) => row.sequence_length],
  ["load ms", (row) => time(row.load_ms), (row) => row.load_ms],
  ["first ms", (row) => time(row.first_ms), (row) => row.first_ms],
  ["p50 ms", (row) => time(row.p50_ms), (row) => row.p50_ms],
  ["p90 ms", (row) => time(row.p90_ms), (row) => row.p90_ms],
  ["min ms", (row) => time(row.min_ms), (row) => row.min_ms],
  ["GPU ms", (row) => time(row.gpu_ms), (row) => row.gpu_ms],
  ["weights MB", (row) => megabytes(row.weights_bytes), (row) => row.weights_bytes],
  ["GPU MB", (row) => megabytes(row.gpu_peak_bytes), (row) => row.gpu_peak_bytes],
  ["wasm MB", (row) => megabytes(row.wasm_heap_bytes), (row) => row.wasm_heap_bytes],
  ["browser MB", (row) => megabytes(row.browser_rss_bytes), (row) => row.browser_rss_bytes],
  ["cosine to f32", (row) => number(row.cosine, 4), (row) => row.cosine],
  ["why", (row) => row.note, null, () => "note"],
];

function bitsOf(row) {
  const [weights, activations] = row.bits.split("/").map(Number);
  return Number.isFinite(weights) ? weights + (activations ?? 0) / 100 : null;
}
function ranAs(row) {
  return row.implementation_type === null ? "did not run" : row.implementation_type + (row.adapter ? `, ${row.adapter}` : "");
}
function kindOf(row) {
  if (row.implementation_type === null) return "failed";
  if (row.implementation_type.startsWith("SIMULATED")) return "simulated";
  return row.adapter === "software" ? "software" : "real";
}
const isReal = (row) => row.implementation_type !== null && !row.implementation_type.startsWith("SIMULATED") && row.p50_ms !== null;
const unique = (values) => [...new Set(values)];

let sorted = { column: null, down: false };
const charts = [];

function shownRows() {
  const model = document.getElementById("model").value;
  // What failed before its model was read belongs to every model.
  return model === "" ? rows : rows.filter((row) => row.model === model || row.model === UNREAD);
}

function table() {
  const head = document.querySelector("#table thead");
  const body = document.querySelector("#table tbody");
  const heading = document.createElement("tr");
  COLUMNS.forEach(([name, , value], column) => {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.className = value ? "number" : "";
    if (sorted.column === column) cell.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => {
      sorted = { column, down: sorted.column === column && !sorted.down };
      table();
    });
    cell.append(button);
    heading.append(cell);
  });
  head.replaceChildren(heading);
  const listed = [...shownRows()];
  if (sorted.column !== null) {
    const [, text, value] = COLUMNS[sorted.column];
    const of = value ?? ((row) => String(text(row)));
    const order = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b));
    listed.sort((a, b) => {
      const [x, y] = [of(a), of(b)];
      // What was not measured comes last either way.
      if (x === null || y === null) return (x === null) - (y === null);
      return sorted.down ? order(y, x) : order(x, y);
    });
  }
  body.replaceChildren(...listed.map((row) => {
    const line = document.createElement("tr");
    for (const [, text, value, kind] of COLUMNS) {
      const cell = document.createElement("td");
      cell.textContent = text(row);
      cell.className = [value ? "number" : "", kind ? kind(row) : ""].join(" ").trim();
      line.append(cell);
    }
    return line;
  }));
}

function tiles() {
  const shown = shownRows();
  const count = (kind) => shown.filter((row) => kindOf(row) === kind).length;
  const fastest = shown.filter(isReal).sort((a, b) => a.p50_ms - b.p50_ms)[0];
  const entries = [
    [count("real") + count("software"), "ran for real"],
    [count("software"), "of these on a software adapter"],
    [count("simulated"), "simulated on the CPU"],
    [count("failed"), "did not run"],
  ];
  if (fastest) entries.push([`${time(fastest.p50_ms)} ms`, `fastest: ${fastest.series}, ${fastest.bits} bits`]);
  document.getElementById("tiles").replaceChildren(...entries.map(([value, text]) => {
    const tile = document.createElement("div");
    tile.className = "tile";
    const [figure, words] = [document.createElement("b"), document.createElement("span")];
    figure.textContent = value;
    words.textContent = text;
    tile.append(figure, words);
    return tile;
  }));
}

function axis(title, more = {}) {
  return { title: { display: true, text: title, color: style("--soft") }, ticks: { color: style("--soft") }, grid: { color: style("--line") }, ...more };
}
function draw(id, type, data, scales, options = {}) {
  const plugins = { legend: { labels: { color: style("--ink"), boxWidth: 14 } }, ...options.plugins };
  const config = { type, data, options: { animation: false, maintainAspectRatio: false, scales, ...options, plugins } };
  charts.push(new Chart(document.getElementById(id), config));
}
function coloured(names) {
  return new Map(names.map((name, ix) => [name, COLOURS[ix % COLOURS.length]]));
}
const wide = (values) => Math.max(...values) > 20 * Math.min(...values);

function drawAll() {
  charts.splice(0).forEach((chart) => chart.destroy());
  const real = shownRows().filter(isReal);
  const series = unique(real.map((row) => row.series));
  const colours = coloured(series);

  const bits = unique(real.map((row) => row.bits)).sort((a, b) => bitsOf({ bits: b }) - bitsOf({ bits: a }));
  const fastest = (name, width) => {
    const times = real.filter((row) => row.series === name && row.bits === width).map((row) => row.p50_ms);
    return times.length ? Math.min(...times) : null;
  };
  draw("latency", "bar", {
    labels: bits.map((width) => `${width} bits`),
    datasets: series.map((name) => ({ label: name, data: bits.map((width) => fastest(name, width)), backgroundColor: colours.get(name) })),
  }, { x: axis(""), y: axis("ms", wide(real.map((row) => row.p50_ms)) ? { type: "logarithmic" } : { beginAtZero: true }) });

  const measured = real.filter((row) => row.weights_bytes !== null && row.cosine !== null);
  draw("memory", "scatter", {
    datasets: unique(measured.map((row) => row.series)).map((name) => ({
      label: name,
      data: measured.filter((row) => row.series === name).map((row) => ({ x: row.weights_bytes / 1e6, y: row.cosine, bits: row.bits })),
      backgroundColor: colours.get(name),
      pointRadius: 5,
    })),
  }, { x: axis("weights, MB"), y: axis("cosine to f32") }, {
    plugins: { tooltip: { callbacks: { label: ({ dataset, raw }) => `${dataset.label}, ${raw.bits} bits: ${raw.x.toFixed(1)} MB, ${raw.y.toFixed(4)}` } } },
  });

  const phases = real.filter((row) => row.load_ms !== null && row.first_ms !== null);
  const phase = (label, of, colour) => ({ label, data: phases.map(of), backgroundColor: colour });
  draw("phases", "bar", {
    labels: phases.map((row) => `${row.series}, ${row.bits}`),
    datasets: [
      phase("load", (row) => row.load_ms, COLOURS[7]),
      phase("first inference", (row) => row.first_ms, COLOURS[1]),
      phase("warm inference", (row) => row.p50_ms, COLOURS[0]),
    ],
  }, { x: axis(""), y: axis("ms", { type: "logarithmic" }) });

  const sized = real.filter((row) => row.batch !== null && row.sequence_length !== null);
  const tokens = (row) => row.batch * row.sequence_length;
  const grows = unique(sized.map(tokens)).length > 1;
  document.getElementById("growth").hidden = !grows;
  if (grows) {
    const lines = unique(sized.map((row) => `${row.series}, ${row.bits} bits`));
    const shades = coloured(lines);
    draw("lengths", "line", {
      datasets: lines.map((name) => ({
        label: name,
        data: sized.filter((row) => `${row.series}, ${row.bits} bits` === name).map((row) => ({ x: tokens(row), y: row.p50_ms })).sort((a, b) => a.x - b.x),
        borderColor: shades.get(name),
        backgroundColor: shades.get(name),
      })),
    }, { x: axis("tokens", { type: "linear" }), y: axis("ms", { beginAtZero: true }) });
  }
}

function show() {
  tiles();
  drawAll();
  table();
}

const models = unique(rows.map((row) => row.model)).filter((name) => name !== UNREAD);
const choice = document.getElementById("model");
choice.replaceChildren(...["", ...models].map((name) => new Option(name === "" ? "all" : name, name)));
if (models.length > 1) {
  document.getElementById("filter").hidden = false;
  choice.value = models[0];
}
choice.addEventListener("change", show);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
show();
