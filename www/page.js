// Starts the agent and shows what it reports. All work, and the session with the host, is in the WebAssembly.
import init, { startPage } from "./pkg/webnibble_agent.js";
import { show, fail } from "./view.js";

/** The socket lies beside this page. */
function socketUrl() {
  const url = new URL("agent", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

try {
  const module = await WebAssembly.compileStreaming(fetch(new URL("pkg/webnibble_agent_bg.wasm", import.meta.url)));
  await init({ module_or_path: module });
  const token = new URLSearchParams(location.search).get("token") ?? "";
  const workerUrl = new URL("worker.js", import.meta.url).href;
  startPage({ socketUrl: socketUrl(), token, workerUrl, module }, show);
} catch (error) {
  fail("The agent did not start", `${error?.message ?? error}`, "Build it with `make wasm`, then reload this page.");
}
