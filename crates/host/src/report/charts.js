"use strict";
// Charts of the report. Every chart takes the rows that are shown, and hides its figure where it has nothing to show.

// Okabe and Ito's colours, told apart by most eyes, on light and on dark paper; then others for long legends.
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c1c", "#7f7f7f", "#7a5cc0", "#b8860b"];
const POINTS = { webgpu: "circle", webnn: "triangle", wasm: "rect" };
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const unique = (values) => [...new Set(values)];
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
const coloured = (names) => new Map(names.map((name, ix) => [name, COLOURS[ix % COLOURS.length]]));
const spans = (values) => values.length > 0 && Math.max(...values) > 20 * Math.min(...values);
const charts = [];

const isReal = (row) => row.implementation_type !== null && !row.implementation_type.startsWith("SIMULATED") && row.p50_ms !== null;
// As it was asked for: 4 bits that became 8 are in the table, and would be the same point twice in a chart.
const asAsked = (row) => isReal(row) && row.asked_bits === null;
const bitsOf = (bits) => bits.split("/").map(Number).reduce((sum, part, ix) => sum + part / 100 ** ix, 0);
const byBits = (a, b) => bitsOf(b.split(" ")[0]) - bitsOf(a.split(" ")[0]) || a.localeCompare(b);

// Bits, with the format where one browser and platform has several of the same bits.
function precisions(rows) {
  const formats = new Map();
  rows.forEach((row) => {
    const key = [row.series, row.model, row.bits].join();
    formats.set(key, (formats.get(key) ?? new Set()).add(row.format));
  });
  const several = [...formats.values()].some((found) => found.size > 1);
  return (row) => (several && row.format !== "" ? `${row.bits} bits, ${row.format}` : `${row.bits} bits`);
}

// The size of input that most rows have: what is compared across browsers is of one size.
function usualSize(rows) {
  const sizes = rows.map((row) => `${row.batch}×${row.sequence_length}`);
  return unique(sizes).sort((a, b) => sizes.filter((s) => s === b).length - sizes.filter((s) => s === a).length)[0];
}
const sizeOf = (row) => `${row.batch}×${row.sequence_length}`;

// Lines of a logarithmic axis: 1, 2 and 5, and over a wide range the powers of ten alone.
function fewTicks(scale) {
  const lead = (value) => Number((value / 10 ** Math.floor(Math.log10(value) + 1e-9)).toPrecision(3));
  const kept = scale.max > 500 * scale.min ? [1] : [1, 2, 5];
  const round = scale.ticks.filter(({ value }) => value > 0 && kept.includes(lead(value)));
  scale.ticks = round.length > 1 ? round : scale.ticks;
}
function axis(title, more = {}) {
  const logarithmic = more.type === "logarithmic" ? { afterBuildTicks: fewTicks } : {};
  const numbers = more.type === "logarithmic" ? { callback: (value) => String(Number(value.toPrecision(3))), autoSkip: false, maxRotation: 0 } : {};
  const ticks = { color: style("--soft"), ...numbers, ...more.ticks };
  return { title: { display: title !== "", text: title, color: style("--soft") }, grid: { color: style("--line") }, ...logarithmic, ...more, ticks };
}
function draw(id, type, data, scales, options = {}) {
  const figure = document.querySelector(`[data-chart="${id}"]`);
  figure.hidden = data.datasets.every((set) => set.data.length === 0);
  if (figure.hidden) return;
  const legend = { position: "bottom", labels: { color: style("--ink"), boxWidth: 12, boxHeight: 12, usePointStyle: true, ...options.legend } };
  const plugins = { legend, ...options.plugins };
  const config = { type, data, options: { animation: false, maintainAspectRatio: false, ...options, scales, plugins }, plugins: options.inline ?? [] };
  charts.push(new Chart(document.getElementById(id), config));
}
const milliseconds = (values) => axis("ms", spans(values) ? { type: "logarithmic" } : { beginAtZero: true });
const label = (text) => ({ tooltip: { callbacks: { label: text } } });

function drawLatency(rows, colours) {
  const shown = rows.filter((row) => sizeOf(row) === usualSize(rows));
  document.getElementById("latency-size").textContent = shown.length ? `, batch ${shown[0].batch} of ${shown[0].sequence_length} tokens` : "";
  const name = precisions(shown);
  const widths = unique(shown.map(name)).sort(byBits);
  const series = [...colours.keys()].filter((one) => shown.some((row) => row.series === one));
  const of = (one, width) => {
    const times = shown.filter((row) => row.series === one && name(row) === width).map((row) => row.p50_ms);
    return times.length ? median(times) : null;
  };
  const datasets = series.map((one) => ({ label: one, data: widths.map((width) => of(one, width)), backgroundColor: colours.get(one), maxBarThickness: 56, categoryPercentage: 0.86, barPercentage: 0.92 }));
  draw("latency", "bar", { labels: widths, datasets }, { x: axis("", { grid: { display: false } }), y: milliseconds(shown.map((row) => row.p50_ms)) }, {
    plugins: label(({ dataset, raw }) => `${dataset.label}: ${raw.toPrecision(3)} ms`),
  });
}

// Names beside the points, where they do not lie on each other.
const named = {
  id: "named",
  afterDatasetsDraw(chart) {
    const { ctx, chartArea } = chart;
    ctx.save();
    ctx.fillStyle = style("--ink");
    ctx.font = "12px system-ui, sans-serif";
    const taken = [];
    chart.data.datasets.forEach((set, ix) => {
      const points = chart.getDatasetMeta(ix).data;
      set.data.forEach(({ name }, at) => {
        const { x, y } = points[at];
        const width = ctx.measureText(name).width;
        const free = (left) => left > chartArea.left && left + width < chartArea.right
          && taken.every((box) => left > box.left + box.width || left + width < box.left || Math.abs(y - box.y) > 13);
        const left = [x + 9, x - 9 - width].find(free);
        if (left !== undefined && !taken.some((box) => box.name === name && Math.hypot(box.x - x, box.y - y) < 12)) {
          taken.push({ left, width, x, y, name });
          ctx.fillText(name, left, y + 4);
        }
      });
    });
    ctx.restore();
  },
};

function drawMemory(rows) {
  const measured = rows.filter((row) => row.weights_bytes !== null && row.cosine !== null && sizeOf(row) === usualSize(rows));
  const name = precisions(measured);
  const platforms = unique(measured.map((row) => row.platform));
  const widths = unique(measured.map((row) => row.bits)).sort(byBits);
  const colours = coloured(widths);
  const datasets = platforms.map((platform) => {
    const own = measured.filter((row) => row.platform === platform);
    return {
      label: platform,
      data: own.map((row) => ({ x: row.weights_bytes / 1e6, y: row.cosine, name: name(row), series: row.series, format: row.format })),
      backgroundColor: own.map((row) => `${colours.get(row.bits)}aa`),
      borderColor: own.map((row) => colours.get(row.bits)),
      pointStyle: POINTS[platform] ?? "star",
      pointRadius: 6,
      pointHoverRadius: 8,
      clip: false,
    };
  });
  const words = ({ raw }) => `${raw.series}, ${raw.name}${raw.format && !raw.name.includes(raw.format) ? ` (${raw.format})` : ""}: ${raw.x.toFixed(1)} MB, ${raw.y.toFixed(4)}`;
  draw("memory", "scatter", { datasets }, { x: axis("weights, MB", { grace: "10%" }), y: axis("cosine to f32", { max: 1 }) }, {
    inline: [named],
    legend: { generateLabels: (chart) => chart.data.datasets.map((set, ix) => ({ text: set.label, pointStyle: set.pointStyle, fillStyle: style("--soft"), strokeStyle: style("--soft"), fontColor: style("--ink"), datasetIndex: ix, hidden: !chart.isDatasetVisible(ix) })) },
    plugins: label(words),
  });
}

function drawPhases(rows) {
  const all = rows.filter((row) => row.load_ms !== null && row.first_ms !== null && sizeOf(row) === usualSize(rows));
  const name = precisions(all);
  const choice = document.getElementById("phase-bits");
  const widths = unique(all.map(name)).sort(byBits);
  if (!widths.includes(choice.value)) {
    const count = (width) => unique(all.filter((row) => name(row) === width).map((row) => row.series)).length;
    const most = Math.max(...widths.map(count));
    choice.replaceChildren(...widths.map((width) => new Option(width, width)));
    choice.value = widths.find((width) => count(width) === most) ?? "";
  }
  const shown = all.filter((row) => name(row) === choice.value);
  const phase = (label, of, colour) => ({ label, data: shown.map(of), backgroundColor: colour, maxBarThickness: 12 });
  document.getElementById("phases-canvas").style.height = `${Math.max(340, 90 + shown.length * 34)}px`;
  draw("phases", "bar", {
    labels: shown.map((row) => row.series),
    datasets: [
      phase("load", (row) => row.load_ms, COLOURS[7]),
      phase("first inference", (row) => row.first_ms, COLOURS[1]),
      phase("warm inference", (row) => row.p50_ms, COLOURS[0]),
    ],
  }, { x: axis("ms", { type: "logarithmic" }), y: axis("", { grid: { display: false } }) }, {
    indexAxis: "y",
    plugins: label(({ dataset, raw }) => `${dataset.label}: ${raw.toPrecision(3)} ms`),
  });
}

// Lines of what was measured at several sizes that differ in `of` alone.
function lines(rows, of, fixed, value) {
  const width = precisions(rows);
  const name = (row) => `${row.series}, ${width(row)}`;
  const groups = unique(rows.map(name)).map((one) => {
    const own = rows.filter((row) => name(row) === one);
    // Of several lines through one series, the one with most points.
    const at = unique(own.map(fixed)).map((held) => own.filter((row) => fixed(row) === held));
    const points = at.sort((a, b) => unique(b.map(of)).length - unique(a.map(of)).length)[0];
    const found = unique(points.map(of)).sort((a, b) => a - b).map((x) => ({ x, y: median(points.filter((row) => of(row) === x).map(value)) }));
    return { name: one, series: own[0].series, width: width(own[0]), held: fixed(points[0]), points: found };
  });
  return groups.filter(({ points }) => points.length > 1);
}

function drawGrowth(id, groups, colours, title, unit) {
  const widths = unique(groups.map(({ width }) => width));
  const several = widths.length > 1;
  const dash = (width) => [[], [7, 4], [2, 3], [8, 3, 2, 3]][widths.indexOf(width) % 4];
  const datasets = groups.map(({ name, series, width, points }) => ({
    label: several ? name : series, data: points, borderColor: colours.get(series), backgroundColor: colours.get(series), pointRadius: 4, borderWidth: 2, borderDash: dash(width), pointStyle: "circle",
  }));
  const sizes = unique(groups.flatMap(({ points }) => points.map(({ x }) => x)));
  const shown = { type: "logarithmic", ticks: { callback: (value) => (sizes.includes(value) ? String(value) : ""), autoSkip: false }, afterBuildTicks: (scale) => { scale.ticks = sizes.sort((a, b) => a - b).map((value) => ({ value })); } };
  draw(id, "line", { datasets }, { x: axis(title, shown), y: axis(unit, { type: "logarithmic" }) }, {
    plugins: label(({ dataset, raw }) => `${dataset.label}, ${raw.x} ${title}: ${raw.y.toPrecision(3)} ms`),
  });
}

function drawSizes(rows, colours) {
  const sized = rows.filter((row) => row.batch !== null && row.sequence_length !== null);
  const lengths = lines(sized, (row) => row.sequence_length, (row) => row.batch, (row) => row.p50_ms);
  const list = (groups, of) => unique(groups.map(of)).join(", ");
  const bits = (groups) => unique(groups.map(({ width }) => width)).join("; ");
  document.getElementById("lengths-about").textContent = `Median of an inference in ms by tokens, batch ${list(lengths, ({ held }) => held)}, ${bits(lengths)}. Both axes are logarithmic.`;
  drawGrowth("lengths", lengths, colours, "tokens", "ms");
  const batches = lines(sized, (row) => row.batch, (row) => row.sequence_length, (row) => row.p50_ms / row.batch);
  document.getElementById("batches-about").textContent = `Time of one item in ms by items in the batch, ${list(batches, ({ held }) => held)} tokens each, ${bits(batches)}: level is no gain from batching. Both axes are logarithmic.`;
  drawGrowth("batches", batches, colours, "items", "ms an item");
}

function drawEngines(rows) {
  const compared = rows.filter((row) => row.ratio !== null);
  const name = precisions(compared);
  const sizes = unique(compared.map(sizeOf)).length > 1;
  const labels = compared.map((row) => `${row.series}, ${name(row)}${sizes ? `, ${sizeOf(row)}` : ""}`);
  const others = unique(compared.map((row) => row.ratio.to)).join(", ");
  const turns = unique(compared.map((row) => (row.ratio.interleaved ? "turn by turn in one page" : "one after the other, where both do not fit")));
  document.getElementById("engines-about").textContent = `Median time by that of the other engine, with the 95 % interval of a bootstrap over runs, measured ${turns.join(", or ")}; left of 1 is faster.`;
  document.getElementById("engines-canvas").style.height = `${Math.max(140, 90 + compared.length * 26)}px`;
  const one = { id: "one", beforeDatasetsDraw({ ctx, chartArea, scales }) {
    const x = scales.x.getPixelForValue(1);
    if (x < chartArea.left || x > chartArea.right) return;
    ctx.save();
    ctx.strokeStyle = style("--ink");
    ctx.beginPath();
    ctx.moveTo(x, chartArea.top);
    ctx.lineTo(x, chartArea.bottom);
    ctx.stroke();
    ctx.restore();
  } };
  const dots = { id: "dots", afterDatasetsDraw(chart) {
    compared.forEach((row, ix) => {
      const { y } = chart.getDatasetMeta(0).data[ix];
      chart.ctx.fillStyle = style("--ink");
      chart.ctx.beginPath();
      chart.ctx.arc(chart.scales.x.getPixelForValue(row.ratio.of_medians), y, 4, 0, 2 * Math.PI);
      chart.ctx.fill();
    });
  } };
  const ends = compared.flatMap(({ ratio }) => [ratio.low, ratio.high, 1]);
  const bounds = { min: Math.min(...ends) / 1.2, max: Math.max(...ends) * 1.2 };
  draw("engines", "bar", { labels, datasets: [{ data: compared.map(({ ratio }) => [ratio.low, ratio.high]), backgroundColor: `${COLOURS[0]}88`, maxBarThickness: 12 }] }, {
    x: axis(`time by that of ${others}`, { type: "logarithmic", ...bounds }), y: axis("", { grid: { display: false }, ticks: { autoSkip: false } }),
  }, {
    indexAxis: "y",
    inline: [one, dots],
    plugins: { legend: { display: false }, ...label(({ dataIndex }) => { const { of_medians, low, high } = compared[dataIndex].ratio; return `${of_medians.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`; }) },
  });
}

function drawAll(shown) {
  charts.splice(0).forEach((chart) => chart.destroy());
  const rows = shown.filter(asAsked);
  const colours = coloured(unique(rows.map((row) => row.series)));
  drawLatency(rows, colours);
  drawMemory(rows);
  drawPhases(rows);
  drawSizes(rows, colours);
  drawEngines(rows);
}
