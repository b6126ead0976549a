// Threads of the CPU executor: Workers that instantiate the module once more, over the same memory.
// One file with two uses: the agent's, which starts a thread, and the thread's own script.

const NAME = "webnibble-thread";
const START_MS = 10_000;

const inWorker = typeof WorkerGlobalScope !== "undefined" && self instanceof WorkerGlobalScope;

// A page's own thread may not wait for others.
export function mayBlock() {
  return inWorker;
}

// The address of a module of wasm-bindgen's, as this file sees it; of none, of the module that this file was made a part
// of (scripts/build-wasm.sh).
export function moduleUrl(file) {
  return new URL(file, import.meta.url).href;
}

// Resolves once the thread is about to serve, and calls `onEnd`, if given, after it has ended by itself.
// `failed` is the address that tells the others of a thread that cannot go on.
export function startThread({ url, module, memory, number, failed }, onEnd) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(import.meta.url, { type: "module", name: NAME });
    const giveUp = (reason) => {
      clearTimeout(timer);
      worker.terminate();
      reject(new Error(reason));
    };
    const timer = setTimeout(() => giveUp(`it did not start within ${START_MS / 1000} s`), START_MS);
    worker.onerror = (event) => {
      event.preventDefault();
      giveUp(event.message ?? "its script could not be loaded");
    };
    worker.onmessage = ({ data }) => {
      if (data.state === "loaded") {
        worker.postMessage({ url, module, memory, number, failed });
      } else if (data.state === "ready") {
        clearTimeout(timer);
        resolve();
      } else if (data.state === "ended") {
        onEnd?.();
      } else if (data.state === "failed") {
        giveUp(data.reason);
      }
    };
  });
}

async function serve({ url, module, memory, number, failed }) {
  try {
    const { initSync, serveThread } = await import(/* @vite-ignore */ /* webpackIgnore: true */ url);
    const exports = initSync({ module, memory });
    self.postMessage({ state: "ready" });
    serveThread(number);
    // Gives back its stack and its thread-local variables.
    exports.__wbindgen_thread_destroy();
    self.postMessage({ state: "ended" });
    self.close();
  } catch (error) {
    Atomics.store(new Int32Array(memory.buffer), failed / Int32Array.BYTES_PER_ELEMENT, 1);
    console.error("a thread of the CPU executor failed:", error);
    self.postMessage({ state: "failed", reason: `${error?.message ?? error}` });
  }
}

if (inWorker && self.name === NAME) {
  self.onmessage = ({ data }) => serve(data);
  self.postMessage({ state: "loaded" });
}
