// Every exported function with arguments of every wrong kind, before and after `init`, and after a panic. What became of each
// call is reported by name.
import { collector, outcome, report } from "./outcome.js";

// Taken apart before `init`, as an application may.
const { default: init, Model, capabilities, variants } = await import("./pkg/webnibble_agent.js");

const MODEL = `${collector}/plain.safetensors`;
const ON_CPU = { platform: "wasm" };
const IDS = { ids: [[1, 2, 3]] };
const throwing = { get tensors() { throw new Error("a getter that throws"); } };
const revoked = () => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
};
const tensor = (value) => ({ tensors: { input_ids: value } });

const found = {};
const note = async (name, call) => { found[name] = await outcome(call); };

async function beforeInit() {
  await note("before.load", () => Model.load(MODEL, ON_CPU));
  await note("before.capabilities", () => capabilities());
  await note("before.new", () => new Model());
  await note("variants.null", () => variants(null));
}

async function initWrongly() {
  const wrong = { number: 5, text: "baseline", string: { candidates: "baseline" }, none: { candidates: [] },
    unknown: { candidates: ["fast"] }, inherited: { candidates: ["toString"] }, module: { module: {} }, nothing: { module: null } };
  for (const [name, options] of Object.entries(wrong)) await note(`wrong.init.${name}`, () => init(options));
  const [first, second] = await Promise.all([init(null), init()]);
  const third = await init({ candidates: ["baseline"] });
  found.init = { same: first.variant === second.variant && second.variant === third.variant, variant: first.variant };
}

async function load() {
  const urls = { undefined, null: null, number: 5, object: {}, symbol: Symbol("url"), function: () => {} };
  for (const [name, url] of Object.entries(urls)) await note(`wrong.load.url.${name}`, () => Model.load(url, ON_CPU));
  const options = { number: 5, text: "wasm", array: [], function: () => {}, unknown: { plattform: "wasm" },
    platform: { platform: "cuda" }, threads: { threads: "two" }, negative: { deadlineMs: -1 }, nan: { deadlineMs: NaN },
    bigint: { threads: 2n }, callback: { platform: () => "wasm" }, signal: { signal: {} }, signal_text: { signal: "abort" },
    revoked: revoked() };
  for (const [name, given] of Object.entries(options)) {
    await note(`wrong.load.options.${name}`, () => Model.load(MODEL, given));
  }
  await note("wrong.load.progress", () => Model.load(MODEL, ON_CPU, 5));
  await note("load.url_object", () => Model.load(new URL(MODEL), ON_CPU));
}

async function run(model) {
  const inputs = { undefined, null: null, number: 5, boolean: true, symbol: Symbol("text"), bigint: 1n, function: () => "text",
    object: {}, empty: [], numbers: [1, 2], holes: new Array(3), getter: throwing, revoked: revoked(), ids: { ids: 5 },
    ids_flat: { ids: [1, 2] }, ids_text: { ids: [["1"]] }, ids_fraction: { ids: [[1.5]] }, ids_negative: { ids: [[-1]] },
    tensors: { tensors: 5 }, tensors_null: { tensors: null }, tensors_array: { tensors: [] }, tensor: tensor(5), ragged: tensor([[1, 2], [3]]),
    nested_text: tensor([["1"]]), nested_nothing: tensor([[undefined]]), nested_fraction: tensor([[1.5, 2]]), nested_bigint: tensor([[1n]]),
    no_shape: tensor({ data: new Uint32Array(3) }), no_data: tensor({ shape: [1, 3] }), list: tensor({ shape: [1, 3], data: [1, 2, 3] }),
    other_shape: tensor({ shape: [1, 4], data: new Uint32Array(3) }), negative: tensor({ shape: [-1], data: new Uint32Array(1) }),
    overflow: tensor({ shape: [65536, 65536], data: new Uint32Array(0) }), shape_text: tensor({ shape: "1,3", data: new Uint32Array(3) }),
    large: tensor({ shape: [1, 600e6], data: new Uint32Array(600e6) }) };
  for (const [name, input] of Object.entries(inputs)) await note(`wrong.run.${name}`, () => model.run(input));
  const options = { number: 5, array: [true], text: "truncate", runs: { runs: "many" }, negative: { runs: -1 }, fraction: { warmup: 0.5 },
    unknown: { repeats: 2 }, signal: { signal: {} }, signal_null_like: { signal: false }, truncate: { truncate: "yes" }, outputs: { outputs: "pooler_output" } };
  for (const [name, given] of Object.entries(options)) await note(`wrong.run.options.${name}`, () => model.run(IDS, given));
  await note("wrong.run.progress", () => model.run(IDS, {}, "progress"));
  const { run: alone } = model;
  await note("wrong.run.alone", () => alone(IDS));
  await note("run.ids", () => model.run(IDS));
  await note("run.nothing", () => model.run(IDS, null, null));
  await note("run.progress_that_throws", () => model.run(IDS, { runs: 2 }, () => { throw new Error("in progress"); }));
}

/** A load that never ends keeps nobody else waiting, and ends when it is told to. */
async function stalled() {
  const aborter = new AbortController();
  const waiting = outcome(() => Model.load(`${collector}/stalled`, { ...ON_CPU, signal: aborter.signal }));
  await note("stalled.capabilities", () => capabilities());
  await note("stalled.load", () => Model.load(MODEL, ON_CPU));
  await note("stalled.deadline", () => Model.load(`${collector}/stalled`, { ...ON_CPU, deadlineMs: 100 }));
  aborter.abort();
  found["stalled.aborted"] = await waiting;
}

async function dispose(model) {
  const running = outcome(() => model.run(IDS, { runs: 50 }));
  const queued = outcome(() => model.run(IDS));
  found["dispose.twice"] = await outcome(() => (model.dispose(), model.dispose()));
  found["dispose.running"] = await running;
  found["dispose.queued"] = await queued;
  await note("dispose.run", () => model.run(IDS));
  found["dispose.report"] = { value: model.report.implementation_type };
}

/** What every browser has is taken away: a panic, while something runs. */
async function panic(model) {
  const running = outcome(() => model.run(IDS, { runs: 1e9 }));
  await new Promise((resolve) => setTimeout(resolve, 0));
  const { AbortController: real } = globalThis;
  delete globalThis.AbortController;
  await note("panic.run", () => model.run(IDS));
  globalThis.AbortController = real;
  found["panic.running"] = await running;
  await note("panic.later", () => model.run(IDS));
  await note("panic.load", () => Model.load(MODEL, ON_CPU));
  await note("panic.capabilities", () => capabilities());
  found["panic.dispose"] = await outcome(() => model.dispose());
}

async function everything() {
  await beforeInit();
  await initWrongly();
  await load();
  const model = await Model.load(MODEL, ON_CPU);
  await run(model);
  await stalled();
  await dispose(model);
  await panic(await Model.load(MODEL, ON_CPU));
}

await everything().catch((error) => { found.error = `${error?.stack ?? error}`; });
await report(found);
