// What the pages are made of: elements, and figures in words.

const MAX_NOTICES = 4;

/** Shows something that went wrong, above everything else. */
export function fail(title, message, hint) {
  const notices = document.getElementById("notices");
  const notice = h("div", { class: "notice" }, h("strong", {}, title), h("p", {}, message));
  if (hint) notice.append(h("p", { class: "hint" }, sentence(hint)));
  notices.prepend(notice);
  while (notices.children.length > MAX_NOTICES) notices.lastChild.remove();
}

/** An element with attributes and children; text is never taken for markup. */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A list of names and values, without those that are not known. */
export function facts(rows) {
  const known = rows.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" }, ...known.map(([name, value]) => figure(name, value)));
}

export function figure(name, value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, `${value}`));
}

/** What really ran, as the backend says, and whether WebGPU was software. */
export function implementation(kind, software) {
  const types = [h("span", { class: "type", "data-kind": kind.startsWith("REAL") ? "real" : "simulated" }, kind)];
  if (kind === "REAL_WEBGPU" && software) types.push(h("span", { class: "type", "data-kind": "software" }, "software adapter"));
  return h("span", { class: "types" }, ...types);
}

/** What a request is doing, and how far it is; `words` say what is done before anything is told. */
export function progressBar(title, words, progress) {
  const bar = h("progress", { "aria-label": title });
  let state = words;
  if (progress) {
    state = STAGES[progress.stage];
    if (progress.total > 0) {
      bar.max = progress.total;
      bar.value = progress.done;
      state += progress.stage === "fetch"
        ? ` · ${megabytes(progress.done)} of ${megabytes(progress.total)}`
        : ` · ${progress.done} of ${progress.total} runs`;
    }
  }
  return h("div", { class: "request" }, h("p", {}, h("strong", {}, title), h("span", { class: "state" }, state)), bar);
}

const STAGES = { fetch: "fetching weights", compile: "building pipelines", warmup: "warming up", run: "measuring" };

/** A table in a box of its own: one that is cut says so, on the side where it is. */
export function scrollable(table) {
  const box = h("div", { class: "scroll", tabindex: "0" }, table);
  const frame = h("div", { class: "frame" }, box);
  const tell = () => {
    frame.toggleAttribute("data-left", box.scrollLeft > 1);
    frame.toggleAttribute("data-right", box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
  };
  box.addEventListener("scroll", tell);
  const watch = new ResizeObserver(tell);
  watch.observe(box);
  watch.observe(table);
  return frame;
}

/** Hints come as clauses. */
export function sentence(clause) {
  return `${clause[0].toUpperCase()}${clause.slice(1)}${clause.endsWith(".") ? "" : "."}`;
}

/** Of none there is no median. */
export function median(values) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function milliseconds(ms) {
  if (ms === null || ms === undefined) return "not measured";
  return ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${ms.toFixed(ms < 10 ? 2 : ms < 100 ? 1 : 0)} ms`;
}

export function megabytes(bytes) {
  return bytes === undefined ? null : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : bytes < 1e9 ? 1 : 0)} MB`;
}
