import init from "./pkg/webnibble_agent.js";
import { outcome, report } from "./outcome.js";

await report({ init: await outcome(() => init()), requests: performance.getEntriesByType("resource").map(({ name }) => name) });
