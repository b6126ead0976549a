// The dedicated Worker: the embedding API, called by messages, so that the page stays smooth while the CPU computes.
import init, { capabilities, Model } from "../pkg/webnibble_agent.js";

/** One at a time: the next one frees the memory of the one before. */
let model = null;
/** Of the call at hand. */
let abort = new AbortController();

const calls = {
  async start() {
    await init();
    return capabilities();
  },
  async load({ url, options }, onProgress) {
    model?.dispose();
    model = null;
    model = await Model.load(url, { ...options, signal: abort.signal }, onProgress);
    return model.report;
  },
  run({ texts, options }, onProgress) {
    return model.run(texts, { ...options, signal: abort.signal }, onProgress);
  },
};

self.onmessage = async ({ data: { id, call, argument } }) => {
  if (call === "stop") return abort.abort();
  abort = new AbortController();
  try {
    const result = await calls[call](argument, (progress) => self.postMessage({ id, progress }));
    self.postMessage({ id, result });
  } catch (error) {
    const { code = "failed", message = String(error), hint = "" } = error ?? {};
    self.postMessage({ id, error: { code, message, hint } });
  }
};

// A failure inside a promise reaches nobody outside the Worker by itself.
self.addEventListener("unhandledrejection", ({ reason }) => {
  self.postMessage({ panic: String(reason?.stack ?? reason) });
});
