// The dedicated Worker: a second instance of the page's compiled module, which computes.
import init, { startWorker } from "./pkg/webnibble_agent.js";

// The page sends the module first; what comes while it is being instantiated waits for `startWorker`'s own handler.
const early = [];
self.onmessage = ({ data: module }) => {
  self.onmessage = (event) => early.push(event);
  const variant = new URLSearchParams(location.search).get("variant");
  // Reported as any other failure of the Worker, by the handler below.
  start(variant, module);
};

async function start(variant, module) {
  await init({ candidates: [variant], module });
  startWorker();
  for (const event of early) self.onmessage(event);
}

// A failure inside a promise reaches nobody outside the Worker by itself.
self.addEventListener("unhandledrejection", ({ reason }) => {
  self.postMessage({ panic: String(reason?.stack ?? reason) });
});
