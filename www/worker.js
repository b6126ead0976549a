// The dedicated Worker: a second instance of the page's compiled module, which computes.
import { initSync, startWorker } from "./pkg/webnibble_agent.js";

// The page sends the module first. `startWorker` takes the messages after it, none of which can come in between.
self.onmessage = ({ data }) => {
  initSync({ module: data });
  startWorker();
};

// A failure inside a promise reaches nobody outside the Worker by itself.
self.addEventListener("unhandledrejection", ({ reason }) => {
  self.postMessage({ panic: String(reason?.stack ?? reason) });
});
