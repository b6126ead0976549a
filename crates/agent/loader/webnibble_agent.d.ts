import type { LoadOptions, LoadReport, ModelInput, Progress, RunOptions, RunResult } from "./baseline/webnibble_agent.js";

export type * from "./baseline/webnibble_agent.js";
export { capabilities, startPage, startWorker } from "./baseline/webnibble_agent.js";

/** A loaded model. Runs are done one after another. */
export class Model {
  private constructor();

  /**
   * Loads a package made by `webnibble quantize`.
   *
   * Rejects with a `WebnibbleError` when the platform is not there, or the package cannot be fetched or is damaged.
   */
  static load(
    url: string | URL,
    options?: LoadOptions | null,
    onProgress?: ((progress: Progress) => void) | null,
  ): Promise<Model>;

  /** What loading gave and took. */
  readonly report: LoadReport;

  /**
   * Runs the model.
   *
   * Rejects with a `WebnibbleError` when the input does not fit the model, an output is not finite, or the device is lost.
   */
  run(
    input: ModelInput,
    options?: RunOptions | null,
    onProgress?: ((progress: Progress) => void) | null,
  ): Promise<RunResult>;

  /** Frees the model's memory, once a run under way has ended. */
  dispose(): void;
  [Symbol.dispose](): void;
}

/** A build of the agent: for any browser with SIMD, with relaxed SIMD, and with threads besides. */
export type Variant = "baseline" | "relaxed" | "threads";

/**
 * The binaries that can run here, fastest first. Threads wait for each other, which a page's own thread may not:
 * `worker` asks for a Worker of this page.
 */
export function variants(options?: { worker?: boolean }): Variant[];

/**
 * Loads the first of `candidates` (default: `variants()`) that can be had; `module` is its compiled module where that is
 * there already. Calls after the first give what that gave. Everything else here needs it, and rejects before it with the
 * code `not_initialized`.
 *
 * Rejects with a `WebnibbleError` when WebAssembly cannot run here, or none of the candidates can be had.
 */
export default function init(options?: {
  candidates?: Variant[];
  module?: WebAssembly.Module;
}): Promise<{ variant: Variant; module: WebAssembly.Module }>;
