import { answer } from "./answer.js";

self.onmessage = async ({ data }) => {
  self.postMessage(await answer({ ...data, platform: "wasm" }).catch((error) => ({ error: `${error?.message ?? error}` })));
};
