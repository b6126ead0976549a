// transformers.js in this Worker: an engine of somebody else's, run on the same terms as ours. It is fetched from the
// host that served this page, never from anywhere else. What to load and how it is measured is decided in Rust.

const VENDOR = "vendor/";

/** onnxruntime's name for what runs a platform. On wasm that is its own processor code, which cannot fall back further. */
const PROVIDERS = { webgpu: "WebGpuExecutionProvider", webnn: "WebNNExecutionProvider", wasm: "CPUExecutionProvider" };

/** Operators that hold nearly all of the work. Shapes and lookups may run beside the device, these may not. */
const PRODUCTS = /^(Fused)?(MatMul|Gemm|Conv|Attention|MultiHeadAttention|GroupQueryAttention|QAttention)/;

/** Length of the input that a WebNN session is first made for. */
const TRIED_TOKENS = 128;

/** An error with a code of the wire. */
function failure(code, message, hint = "") {
  return Object.assign(new Error(message), { code, hint });
}

let library = null;
let threadsOfLibrary = null;

/** onnxruntime-web by itself, without transformers.js around it: for comparisons. */
let runtime = null;

/** Inputs as onnxruntime takes them, by the numbers that they were made of: converted once for many runs. */
const converted = new WeakMap();

/** Lines of onnxruntime's log, while they are wanted. */
let lines = null;

let listening = false;

/** onnxruntime writes its log to the console, and keeps the function that it finds there when it starts. */
function listenToLog() {
  if (listening) return;
  listening = true;
  for (const method of ["log", "error"]) {
    const original = console[method].bind(console);
    console[method] = (...words) => {
      const text = words.join(" ");
      if (lines === null || !text.includes("onnxruntime:")) return original(...words);
      lines.push(text);
      // Warnings and errors stay where a person looks for them; the rest is only there because we asked.
      if (!/\[[VI]:onnxruntime:/.test(text)) original(...words);
      return undefined;
    };
  }
}

/** What `work` gives, and the devices that graphs landed on which WebNN built meanwhile: names, or null where the browser
 * tells nothing. onnxruntime keeps its graphs to itself, so they are seen where they are made. */
export async function watchDevices(work) {
  const prototype = globalThis.MLGraphBuilder?.prototype;
  if (prototype === undefined) return [await work(), null];
  const { build } = prototype;
  let devices = null;
  prototype.build = async function (...outputs) {
    const graph = await build.apply(this, outputs);
    if (graph.devices !== undefined) devices = [...new Set([...(devices ?? []), ...graph.devices])].sort();
    return graph;
  };
  try {
    const made = await work();
    return [made, devices];
  } finally {
    prototype.build = build;
  }
}

const vendored = (file) => new URL(VENDOR + file, location.href).href;

/** Files of this page's host in place of onnxruntime's own address. */
function configure(wasm, threads) {
  const name = "ort-wasm-simd-threaded.asyncify";
  wasm.wasmPaths = { mjs: vendored(`${name}.mjs`), wasm: vendored(`${name}.wasm`) };
  if (threads !== null) wasm.numThreads = threads;
  threadsOfLibrary = threads;
}

/** Imports a file of this page's host. */
async function importVendored(file) {
  listenToLog();
  try {
    return await import(/* @vite-ignore */ /* webpackIgnore: true */ vendored(file));
  } catch (error) {
    const hint = "the host serves it where `npm ci` put it: run `make setup`";
    throw failure("engine_failed", `${file} could not be fetched from this page's host: ${error.message}`, hint);
  }
}

async function importRuntime(threads) {
  if (runtime === null) {
    runtime = await importVendored("ort.webgpu.bundle.min.mjs");
    configure(runtime.env.wasm, threads);
    // As transformers.js has it.
    runtime.env.webgpu.powerPreference = "high-performance";
  }
  return runtime;
}

async function importLibrary(threads) {
  if (library !== null) {
    if (threads !== null && threads !== threadsOfLibrary) {
      const message = `transformers.js runs on ${threadsOfLibrary ?? "its default of"} threads since its first model, ${threads} were asked for`;
      throw failure("unsupported", message, "reload the page: its threads are fixed when it starts");
    }
    return library;
  }
  const found = await importVendored("transformers.min.js");
  const { env } = found;
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  // The host's answer is never stale, and a copy of every model is nobody's wish.
  env.useBrowserCache = false;
  env.useWasmCache = false;
  configure(env.backends.onnx.wasm, threads);
  library = found;
  return found;
}

/** `work`, or the reason of a promise that onnxruntime leaves to fail alone: its caller would wait for ever. */
async function guarded(work) {
  let caught;
  const stray = new Promise((_, reject) => {
    caught = (event) => {
      event.preventDefault();
      event.stopImmediatePropagation();
      reject(event.reason);
    };
  });
  addEventListener("unhandledrejection", caught, { capture: true });
  try {
    return await Promise.race([work(), stray]);
  } finally {
    removeEventListener("unhandledrejection", caught, { capture: true });
  }
}

/** Where onnxruntime put the operators, as its log tells: `{provider: {nodes, operators: {name: count}}}`. */
export function readPlacement(log) {
  const placement = {};
  let current = null;
  for (const line of log) {
    const provider = /placed on \[(\w+)\]\. Number of nodes: (\d+)/.exec(line);
    if (provider) {
      current = placement[provider[1]] = { nodes: Number(provider[2]), operators: {} };
      continue;
    }
    const node = /VerifyEachNodeIsAssignedToAnEp\]\s+(\w+) \(/.exec(line);
    if (node && current) current.operators[node[1]] = (current.operators[node[1]] ?? 0) + 1;
  }
  return placement;
}

/** Fails unless the platform's provider has the work. */
export function checkPlacement(placement, platform) {
  const provider = PROVIDERS[platform];
  const told = Object.entries(placement).map(([name, { nodes }]) => `${nodes} on ${name}`).join(", ");
  const found = told || "its log does not say";
  if (!placement[provider]?.nodes) {
    throw failure("engine_failed", `expected operators on ${provider}, found ${found}`);
  }
  for (const [name, { operators }] of Object.entries(placement)) {
    const strays = Object.keys(operators).filter((operator) => PRODUCTS.test(operator));
    if (name !== provider && strays.length > 0) {
      const message = `expected all products on ${provider}, found ${strays.join(", ")} on ${name} (${found})`;
      throw failure("engine_failed", message, "the device does not take these weights: try other bits");
    }
  }
}

/** A model that transformers.js runs. */
export class TransformersModel {
  #folder;
  #platform;
  #device;
  #threads;
  #description = null;
  #tokenizer = null;
  #model = null;
  #shape = null; // of the session, where it is made for one
  #placement = null;
  #devices = null; // that WebNN's graphs landed on, where the browser tells
  #ort = null; // onnxruntime-web, where it is used directly

  /** `folder` is the path of the files on this page's host, `device` WebNN's or null for the browser's choice. */
  constructor(folder, platform, device, threads) {
    this.#folder = new URL(folder, location.href).pathname.replace(/\/$/, "");
    this.#platform = platform;
    this.#device = device && platform === "webnn" ? `webnn-${device}` : platform;
    this.#threads = threads ?? null;
  }

  /** Fetches and makes ready; gives times and sizes as JSON. */
  async open(onProgress) {
    const response = await fetch(`${this.#folder}/webnibble.json`);
    if (!response.ok) throw failure("fetch", `HTTP status ${response.status} for the model's description`);
    this.#description = await response.json();
    if (this.#description.runtime) {
      this.#ort = await importRuntime(this.#threads);
    } else {
      const found = await importLibrary(this.#threads);
      this.#tokenizer = this.#description.tokenizer ? await this.#openTokenizer(found) : null;
    }
    // WebNN has no dynamic shapes: a first session tells whether it runs, one for the shape comes with that.
    const length = Math.min(TRIED_TOKENS, this.#description.max_length);
    const report = await this.#session(this.#platform === "webnn" ? [1, length] : null, onProgress);
    const { sentence, max_length } = this.#description;
    const found = { placement: this.#placement, adapter: this.#adapter(), versions: this.#versions() };
    return JSON.stringify({ ...report, ...found, sentence, max_length });
  }

  async #openTokenizer({ AutoTokenizer, env }) {
    try {
      env.localModelPath = this.#parent();
      return await AutoTokenizer.from_pretrained(this.#name());
    } catch (error) {
      throw failure("bad_package", `transformers.js cannot read the tokenizer: ${error.message}`);
    }
  }

  #parent() {
    return this.#folder.slice(0, this.#folder.lastIndexOf("/") + 1);
  }

  #name() {
    return this.#folder.slice(this.#folder.lastIndexOf("/") + 1);
  }

  /** Makes the session; first one that only tells where operators go, since its log would slow every run. */
  async #session(shape, onProgress) {
    await this.#release();
    if (this.#placement === null && this.#platform !== "wasm") {
      lines = [];
      try {
        await this.#load(shape, 0, () => {});
        this.#placement = readPlacement(lines);
      } finally {
        lines = null;
      }
      await this.#release();
      checkPlacement(this.#placement, this.#platform);
    }
    const [report, devices] = await watchDevices(() => this.#load(shape, 3, onProgress));
    this.#devices = devices;
    this.#shape = shape;
    return report;
  }

  #load(shape, logSeverityLevel, onProgress) {
    const [name, deviceType] = this.#device.split("-");
    // transformers.js takes webnn without a device for the processor: what the browser chooses, it must be told.
    const executionProviders = [deviceType ? { name, deviceType } : name];
    const session = { logSeverityLevel, ...(name === "webnn" || this.#ort ? { executionProviders } : {}) };
    if (shape) session.freeDimensionOverrides = { batch_size: shape[0], sequence_length: shape[1] };
    return this.#ort ? this.#loadDirectly(session, onProgress) : this.#loadByLibrary(session, onProgress);
  }

  /** Work of onnxruntime, its failure in our words. */
  async #create(work) {
    try {
      return await guarded(work);
    } catch (error) {
      if (error?.code) throw error;
      const hint = "an ONNX file that `webnibble export --onnx` writes has only operators that it takes";
      const engine = this.#ort ? "onnxruntime-web" : "transformers.js";
      const message = `${engine} cannot load ${this.#description.file}: ${error?.message ?? error}`;
      throw failure("engine_failed", message, hint);
    }
  }

  async #loadDirectly(session, onProgress) {
    const { file } = this.#description;
    const began = performance.now();
    const response = await fetch(`${this.#folder}/${file}`);
    if (!response.ok) throw failure("fetch", `HTTP status ${response.status} for ${file}`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    const fetched = performance.now() - began;
    onProgress(bytes.length, bytes.length);
    this.#model = await this.#create(() => this.#ort.InferenceSession.create(bytes, session));
    return { total_ms: performance.now() - began, fetch_ms: fetched, bytes: bytes.length };
  }

  async #loadByLibrary(session, onProgress) {
    const { AutoModel, env } = library;
    env.localModelPath = this.#parent();
    const { file } = this.#description;
    const [subfolder, name] = file.includes("/") ? file.split("/") : ["", file];
    const began = performance.now();
    const fetched = { begin: null, end: null, bytes: 0 };
    const options = {
      device: this.#device,
      subfolder,
      // The file is named whole: what its weights are is in it.
      model_file_name: name.replace(/\.onnx$/, ""),
      dtype: "fp32",
      session_options: session,
      progress_callback: (step) => this.#follow(step, file, fetched, onProgress),
    };
    this.#model = await this.#create(() => AutoModel.from_pretrained(this.#name(), options));
    const total = performance.now() - began;
    const fetch = fetched.begin === null ? 0 : (fetched.end ?? performance.now()) - fetched.begin;
    return { total_ms: total, fetch_ms: fetch, bytes: fetched.bytes };
  }

  #follow(step, file, fetched, onProgress) {
    if (step.file !== file) return;
    if (step.status === "progress") {
      fetched.begin ??= performance.now();
      fetched.bytes = step.loaded;
      onProgress(step.loaded, step.total);
    } else if (step.status === "initiate" || step.status === "download") {
      fetched.begin ??= performance.now();
    } else if (step.status === "done") {
      fetched.end ??= performance.now();
    }
  }

  /** Names of the devices that WebNN's graphs landed on, or undefined. */
  devices() {
    return this.#devices ?? undefined;
  }

  /** The WebGPU device that onnxruntime opened, as JSON of an adapter, or null. */
  #adapter() {
    if (this.#platform !== "webgpu") return null;
    const { device } = this.#ort ? this.#ort.env.webgpu : library.env.backends.onnx.webgpu;
    const info = device?.adapterInfo;
    if (!info) return null;
    const { vendor, architecture, device: name, description, isFallbackAdapter } = info;
    return { vendor, architecture, device: name, description, isFallbackAdapter: Boolean(isFallbackAdapter) };
  }

  /** Token ids of texts, padded to the longest: `{batch, seq, ids, mask, types, counts, totals}`, the last two tokens of each
   * text as it runs and before it was cut. */
  encode(texts, truncate) {
    if (this.#tokenizer === null) {
      const hint = "give token ids, or put a tokenizer.json beside the model";
      throw failure("bad_input", "the model has no tokenizer, so it takes no texts", hint);
    }
    const empty = texts.findIndex((text) => text.trim() === "");
    if (empty >= 0) throw failure("bad_input", `text ${empty} is empty: expected at least one token`);
    const limit = this.#description.max_length;
    const whole = this.#tokenizer(texts, { padding: true, return_tensor: true });
    const [, longest] = whole.input_ids.dims;
    if (longest > limit && !truncate) {
      const message = `a text has ${longest} tokens, the model takes ${limit}: shorten it, or ask for truncation`;
      throw failure("bad_input", message, "shorten the text, or ask for it to be truncated");
    }
    const cut = longest > limit;
    const given = cut ? this.#tokenizer(texts, { padding: true, truncation: true, max_length: limit }) : whole;
    const [batch, seq] = given.input_ids.dims;
    const numbers = (tensor) => (tensor ? Uint32Array.from(tensor.data, Number) : new Uint32Array(batch * seq));
    const count = (bits, width) => {
      const row = (index) => bits.subarray(index * width, (index + 1) * width);
      return Uint32Array.from({ length: batch }, (_, index) => row(index).reduce((sum, bit) => sum + bit, 0));
    };
    const mask = numbers(given.attention_mask);
    return {
      batch,
      seq,
      ids: numbers(given.input_ids),
      mask,
      types: numbers(given.token_type_ids),
      counts: count(mask, seq),
      totals: count(Uint32Array.from(whole.attention_mask.data, Number), longest),
    };
  }

  /** Makes ready for a shape: only WebNN needs it. */
  async prepare(batch, seq) {
    if (this.#platform !== "webnn" || (this.#shape?.[0] === batch && this.#shape?.[1] === seq)) return;
    await this.#session([batch, seq], () => {});
  }

  /** Runs once, from numbers to numbers: `{name, dims, data}`. */
  async run(batch, seq, ids, mask, types) {
    const { Tensor } = this.#ort ?? library;
    const tensor = (numbers) => {
      if (!converted.has(numbers)) converted.set(numbers, BigInt64Array.from(numbers, BigInt));
      return new Tensor("int64", converted.get(numbers), [batch, seq]);
    };
    const feed = { input_ids: tensor(ids), attention_mask: tensor(mask), token_type_ids: tensor(types) };
    let outputs;
    try {
      outputs = await guarded(() => (this.#ort ? this.#runDirectly(feed) : this.#model(feed)));
    } catch (error) {
      throw failure("engine_failed", `transformers.js cannot run the model: ${error?.message ?? error}`);
    }
    const { name, tensor: output } = this.#answer(outputs, feed.attention_mask);
    if (output === undefined) {
      const found = Object.keys(outputs).join(", ");
      throw failure("engine_failed", `expected an output sentence_embedding or last_hidden_state, found ${found}`);
    }
    return { name, dims: Uint32Array.from(output.dims), data: Float32Array.from(output.data) };
  }

  /** The one output that is wanted: reading others back would only cost time. */
  #runDirectly(feed) {
    const { inputNames, outputNames } = this.#model;
    const given = Object.fromEntries(Object.entries(feed).filter(([name]) => inputNames.includes(name)));
    const wanted = ["sentence_embedding", "last_hidden_state"].find((name) => outputNames.includes(name));
    return this.#model.run(given, wanted ? [wanted] : outputNames);
  }

  #versions() {
    if (this.#ort) return { "onnxruntime-web": this.#ort.env.versions.web };
    const { env } = library;
    return { "transformers.js": env.version, "onnxruntime-web": env.backends.onnx.versions.web };
  }

  /** The answer that our own engine gives too: a sentence's embedding where the model has one. */
  #answer(outputs, mask) {
    const { sentence } = this.#description;
    const hidden = outputs.last_hidden_state ?? outputs.token_embeddings;
    if (!sentence) return { name: "last_hidden_state", tensor: hidden };
    if (outputs.sentence_embedding) return { name: "sentence_embedding", tensor: outputs.sentence_embedding };
    if (hidden === undefined || this.#ort) return { name: "last_hidden_state", tensor: hidden };
    let pooled;
    if (sentence.pooling === "mean") pooled = library.mean_pooling(hidden, mask);
    else if (sentence.pooling === "cls") pooled = hidden.slice(null, 0);
    else throw failure("unsupported", `the model's ONNX form does not pool, and pooling ${sentence.pooling} is not one of transformers.js's`);
    return { name: "sentence_embedding", tensor: sentence.normalize ? pooled.normalize(2, -1) : pooled };
  }

  async #release() {
    const model = this.#model;
    this.#model = null;
    await (this.#ort ? model?.release() : model?.dispose());
  }

  /** Frees the session. */
  dispose() {
    this.#release().catch(() => {});
  }
}
