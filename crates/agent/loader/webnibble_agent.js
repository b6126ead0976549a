// Loads the binary that suits this browser, and is its face: scripts/build-wasm.sh puts this file into pkg/, above the
// folders of the binaries. What is exported is the same for each of them, and there once `init` has resolved.

/** @type {import("./baseline/webnibble_agent.js").Model} */
export let Model;
export let capabilities;
export let startPage;
export let startWorker;

// `() -> v128`: i8x16.relaxed_swizzle of two splats.
const RELAXED_SIMD = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253,
  128, 2, 11,
];

const inWorker = typeof WorkerGlobalScope !== "undefined" && self instanceof WorkerGlobalScope;

/**
 * The binaries that can run here, fastest first. Threads wait for each other, which a page's own thread may not:
 * `worker` asks for a Worker of this page.
 */
export function variants({ worker = inWorker } = {}) {
  const relaxed = WebAssembly.validate(new Uint8Array(RELAXED_SIMD));
  const threads = relaxed && worker && self.crossOriginIsolated && typeof SharedArrayBuffer !== "undefined";
  return [...(threads ? ["threads"] : []), ...(relaxed ? ["relaxed"] : []), "baseline"];
}

async function compile(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: status ${response.status}`);
  if (response.headers.get("content-type") === "application/wasm") return WebAssembly.compileStreaming(response);
  return WebAssembly.compile(await response.arrayBuffer());
}

async function load(variant, compiled) {
  const glue = await import(`./${variant}/webnibble_agent.js`);
  const module = compiled ?? (await compile(new URL(`${variant}/webnibble_agent_bg.wasm`, import.meta.url)));
  await glue.default({ module_or_path: module });
  ({ Model, capabilities, startPage, startWorker } = glue);
  return { variant, module };
}

let loading = null;

async function first(candidates, module) {
  const failures = [];
  for (const variant of candidates) {
    try {
      return await load(variant, module);
    } catch (error) {
      // Not among the files here, or more memory than this browser gives: the next one has fewer demands.
      failures.push(`${variant}: ${error?.message ?? error}`);
    }
  }
  throw new Error(`no binary could be loaded; ${failures.join("; ")}`);
}

/**
 * Loads the first of `candidates` that can be had; `module` is its compiled module where that is there already. Gives
 * the name of the variant and its module. Calls after the first give what that gave.
 */
export default function init({ candidates = variants(), module } = {}) {
  loading ??= first(candidates, module).catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}
