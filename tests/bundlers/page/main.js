// The golden model in the page on WebGPU, and in a Worker by each binary on the CPU. The address says whom to report to.
import { answer } from "./answer.js";

const collector = new URLSearchParams(location.search).get("collector");

function inWorker(variant) {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => (data.error ? reject(new Error(`${variant}: ${data.error}`)) : resolve(data));
    worker.onerror = (event) => reject(new Error(`the Worker for ${variant} failed: ${event.message}`));
    worker.postMessage({ collector, variant });
  }).finally(() => worker.terminate());
}

async function everyBinary() {
  const found = { page: await answer({ collector, platform: "webgpu" }) };
  for (const variant of ["baseline", "relaxed", "threads"]) {
    found[variant] = await inWorker(variant);
  }
  return found;
}

const report = await everyBinary().catch((error) => ({ error: `${error?.message ?? error}` }));
await fetch(`${collector}/report`, { method: "POST", body: JSON.stringify(report) });
