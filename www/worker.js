// A dedicated Worker: another instance of the page's compiled module, which computes.
import init, { startWorker } from "./pkg/webnibble_agent.js";

// The page sends the module first; what comes while it is being instantiated waits for `startWorker`'s own handler.
const early = [];
self.onmessage = ({ data: module }) => {
  self.onmessage = (event) => early.push(event);
  // Reported as any other failure of the Worker, by the handler below.
  start(new URLSearchParams(location.search), module);
};

async function start(asked, module) {
  await init({ candidates: [asked.get("variant")], module });
  // What the browser can do is found out once, by the Worker that the page starts with.
  startWorker(!asked.has("engine"));
  for (const event of early) self.onmessage(event);
}

// A failure inside a promise reaches nobody outside the Worker by itself.
self.addEventListener("unhandledrejection", ({ reason }) => {
  self.postMessage({ panic: String(reason?.stack ?? reason) });
});
