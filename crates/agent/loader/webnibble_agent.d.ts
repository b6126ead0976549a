export type * from "./baseline/webnibble_agent.js";
export { Model, capabilities, startPage, startWorker } from "./baseline/webnibble_agent.js";

/** A build of the agent: for any browser with SIMD, with relaxed SIMD, and with threads besides. */
export type Variant = "baseline" | "relaxed" | "threads";

/**
 * The binaries that can run here, fastest first. Threads wait for each other, which a page's own thread may not:
 * `worker` asks for a Worker of this page.
 */
export function variants(options?: { worker?: boolean }): Variant[];

/**
 * Loads the first of `candidates` (default: `variants()`) that can be had; `module` is its compiled module where that is
 * there already. Calls after the first give what that gave.
 */
export default function init(options?: {
  candidates?: Variant[];
  module?: WebAssembly.Module;
}): Promise<{ variant: Variant; module: WebAssembly.Module }>;
