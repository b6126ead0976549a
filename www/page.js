// Starts the agent and shows what it reports. All work, and the session with the host, is in the WebAssembly.
import init, { startPage, variants } from "./pkg/webnibble_agent.js";
import { fail } from "./elements.js";
import { show } from "./view.js";

/** The socket lies beside this page. */
function socketUrl() {
  const url = new URL("agent", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

try {
  // The Worker, which computes, instantiates the same module: what it may use decides.
  const { variant, module } = await init({ candidates: variants({ worker: true }) });
  const token = new URLSearchParams(location.search).get("token") ?? "";
  const workerUrl = new URL(`worker.js?variant=${variant}`, import.meta.url).href;
  // The host gives the right to make functions from text, which onnxruntime needs, to this one alone.
  const transformersJsWorkerUrl = `${workerUrl}&engine=transformers-js`;
  startPage({ socketUrl: socketUrl(), token, workerUrl, transformersJsWorkerUrl, module }, show);
} catch (error) {
  fail("The agent did not start", `${error?.message ?? error}`, "Build it with `make wasm`, then reload this page.");
}
