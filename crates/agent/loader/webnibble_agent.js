// Loads the binary that suits this browser, and is its face: scripts/build-wasm.sh puts this file into pkg/, above the
// folders of the binaries. Its exports are the same for each of them, and there from the start; what they do needs `init`.
//
// Nothing happens when it is imported, so that servers which render pages can import it too.

// Each address is written out: that is how bundlers find what to hand out. The scripts are handed out as they are.
const FILES = {
  baseline: () => ({
    script: new URL("./baseline/webnibble_agent.js", import.meta.url),
    binary: new URL("./baseline/webnibble_agent_bg.wasm", import.meta.url),
  }),
  relaxed: () => ({
    script: new URL("./relaxed/webnibble_agent.js", import.meta.url),
    binary: new URL("./relaxed/webnibble_agent_bg.wasm", import.meta.url),
  }),
  threads: () => ({
    script: new URL("./threads/webnibble_agent.js", import.meta.url),
    binary: new URL("./threads/webnibble_agent_bg.wasm", import.meta.url),
  }),
};

// Modules that say what a browser has.
const MAGIC = [0, 97, 115, 109, 1, 0, 0, 0];
const RETURNS_V128 = [1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0];
/** `() -> v128`: i8x16.splat. */
const SIMD = [...MAGIC, ...RETURNS_V128, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11];
/** `() -> v128`: i8x16.relaxed_swizzle of two splats. */
const RELAXED_SIMD = [
  ...MAGIC, ...RETURNS_V128, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11,
];
const valid = (bytes) => WebAssembly.validate(new Uint8Array(bytes));

const OLD_BROWSER = "use Chrome 96, Firefox 89, Safari 16.4, or a later one";
const BLOCKED = "add 'wasm-unsafe-eval' to script-src of the page's content security policy";
const NOT_HANDED_OUT =
  "serve the folders of pkg/ beside webnibble_agent.js; the bundler section of docs/embedding.md says what bundlers need";
const NO_MEMORY = "close other pages, so that the browser has memory for it, and try again";
const ENDED =
  "this is a bug in webnibble, or memory ran out: report it with the browser's console. Reload the page, or start the Worker again, to go on";

function failure(code, message, hint) {
  return Object.assign(new Error(message), { name: "WebnibbleError", code, hint });
}

const inWorker = () => typeof WorkerGlobalScope !== "undefined" && self instanceof WorkerGlobalScope;

/**
 * The binaries that can run here, fastest first. Threads wait for each other, which a page's own thread may not:
 * `worker` asks for a Worker of this page.
 */
export function variants(options) {
  if (typeof WebAssembly === "undefined") return [];
  const worker = options?.worker ?? inWorker();
  const relaxed = valid(RELAXED_SIMD);
  const threads = relaxed && worker && globalThis.crossOriginIsolated && typeof SharedArrayBuffer !== "undefined";
  return [...(threads ? ["threads"] : []), ...(relaxed ? ["relaxed"] : []), "baseline"];
}

/** Rejects where no WebAssembly of ours can run, and says why. */
async function requireWebAssembly() {
  if (typeof WebAssembly === "undefined") {
    throw failure("wasm_unavailable", "this browser has no WebAssembly", OLD_BROWSER);
  }
  try {
    await WebAssembly.compile(new Uint8Array(MAGIC));
  } catch (error) {
    throw failure("wasm_unavailable", `the page may not compile WebAssembly: ${error?.message ?? error}`, BLOCKED);
  }
  if (!valid(SIMD)) {
    throw failure("wasm_unavailable", "this browser's WebAssembly has no SIMD", OLD_BROWSER);
  }
}

async function compile(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: status ${response.status}`);
  const type = response.headers.get("content-type") ?? "";
  // Servers of one-page applications answer so for what they do not have.
  if (type.startsWith("text/html")) throw new Error(`${url} is an HTML page`);
  if (type === "application/wasm") return WebAssembly.compileStreaming(response);
  return WebAssembly.compile(await response.arrayBuffer());
}

let loading = null;
/** Exports of the binary that was loaded. */
let agent = null;
/** Makes the error of what ended it; null as long as it runs. */
let ended = null;
/** Rejects each call that waits for an answer. */
const waiting = new Set();

function end(thrown) {
  const message = thrown?.code ? thrown.message : `the WebAssembly stopped: ${thrown?.message ?? thrown}`;
  ended = () => failure("internal", message, ENDED);
  for (const reject of waiting) reject(ended());
  waiting.clear();
}

async function fetchFiles(variant, compiled) {
  const { script, binary } = FILES[variant]();
  const found = await import(/* webpackIgnore: true */ /* @vite-ignore */ script.href);
  return { found, module: compiled ?? (await compile(binary)) };
}

async function start({ found, module }) {
  await found.default({ module_or_path: module });
  found.onEnd(end);
  agent = found;
}

function checked(options) {
  const bad = (what) => failure("bad_option", what, "call `init()`, or `init({ candidates, module })`");
  if (typeof (options ?? {}) !== "object") throw bad(`the options of init should be an object, found ${typeof options}`);
  const { candidates = variants(), module } = options ?? {};
  const known = Object.keys(FILES).join(", ");
  if (!Array.isArray(candidates) || candidates.length === 0 || !candidates.every((name) => Object.hasOwn(FILES, name))) {
    throw bad(`candidates should be one or more of ${known}, found ${JSON.stringify(candidates)}`);
  }
  if (module !== undefined && !(module instanceof WebAssembly.Module)) {
    throw bad(`module should be a WebAssembly.Module, found ${module === null ? null : typeof module}`);
  }
  return { candidates, module };
}

async function first(options) {
  await requireWebAssembly();
  const { candidates, module } = checked(options);
  const failures = [];
  let fetched = false;
  for (const variant of candidates) {
    try {
      const files = await fetchFiles(variant, module);
      fetched = true;
      await start(files);
      return { variant, module: files.module };
    } catch (error) {
      // Not among the files here, or more memory than this browser gives: the next one has fewer demands.
      failures.push(`${variant}: ${error?.message ?? error}`);
    }
  }
  const [code, hint] = fetched ? ["wasm_unavailable", NO_MEMORY] : ["fetch", NOT_HANDED_OUT];
  throw failure(code, `no binary could be loaded; ${failures.join("; ")}`, hint);
}

/**
 * Loads the first of `candidates` that can be had; `module` is its compiled module where that is there already. Gives
 * the name of the variant and its module. Calls after the first give what that gave.
 */
export default function init(options) {
  loading ??= first(options).catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

function loaded() {
  if (ended !== null) throw ended();
  if (agent === null) throw failure("not_initialized", "no binary is loaded yet", "call `await init()` first");
  return agent;
}

/** What `work` gives, with the binary that is loaded. It settles in any case. */
function ask(work) {
  return new Promise((resolve, reject) => {
    const found = loaded();
    waiting.add(reject);
    const answer = new Promise((made) => made(work(found)));
    answer.then(resolve, reject).finally(() => waiting.delete(reject));
  });
}

export function capabilities() {
  return ask((agent) => agent.capabilities());
}

export function startPage(...given) {
  return loaded().startPage(...given);
}

export function startWorker(...given) {
  return loaded().startWorker(...given);
}

/** Only `Model.load` makes models. */
const LOADED = Symbol("loaded");

export class Model {
  #model;
  #report;

  constructor(key, model) {
    if (key !== LOADED) throw failure("bad_input", "a model is not made by `new`", "call `await Model.load(url, options)`");
    this.#model = model;
    this.#report = model.report;
  }

  static async load(url, options, onProgress) {
    return new Model(LOADED, await ask((agent) => agent.Model.load(url, options, onProgress)));
  }

  get report() {
    return this.#report;
  }

  async run(input, options, onProgress) {
    if (!(#model in Object(this))) {
      throw failure("bad_input", "`run` was called without its model", "call `model.run(input, options)`");
    }
    return ask(() => this.#model.run(input, options, onProgress));
  }

  dispose() {
    // What it would free went with the binary.
    if (ended === null) this.#model.dispose();
  }
}

// Where the language has `using`.
if (Symbol.dispose) Model.prototype[Symbol.dispose] = Model.prototype.dispose;
