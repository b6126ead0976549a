//! Bindings written by hand, and the TypeScript declarations of the JavaScript face.

use js_sys::{Error, Function};
use wasm_bindgen::prelude::*;
use webnibble_common::options::PAGE_SETTINGS_TYPESCRIPT;

/// Options of the table, by which a model is loaded.
#[wasm_bindgen(typescript_custom_section)]
const PAGE_SETTINGS: &str = PAGE_SETTINGS_TYPESCRIPT;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** What the browser can do. */
export interface Capabilities {
  user_agent: string;
  hardware_concurrency: number | null;
  webgpu: { present: boolean; adapter: Adapter | null; error: string | null; wgsl_language_features: string[] };
  webnn: {
    present: boolean;
    devices: Record<string, {
      created: boolean;
      error: string | null;
      claimed_devices: string[] | null;
      operators: Record<string, string[]>;
    }>;
  };
  webgl: { version: number; renderer: string | null };
  wasm: { simd: boolean; relaxed_simd: boolean; threads: boolean };
  cross_origin_isolated: boolean;
  opfs: boolean;
  memory: { device_gib: number | null; js_heap_limit_bytes: number | null };
}

/** A WebGPU adapter. `hardware` is false on a software rasterizer. */
export interface Adapter {
  vendor: string;
  architecture: string;
  device: string;
  description: string;
  hardware: boolean;
  features: string[];
  limits: Record<string, number>;
  subgroup_size: [number, number] | null;
}

export interface LoadOptions extends PageSettings {
  /** Where to run: `webgpu` (default), `webnn`, or `wasm` for the CPU. */
  platform?: "webgpu" | "webnn" | "wasm";
  /** SHA-256 of the package's header, to be sure of what is loaded: `webnibble inspect` prints it. */
  digest?: string;
  /** Gives up after so long. */
  deadlineMs?: number;
  /** Gives up when it is aborted. */
  signal?: AbortSignal;
}

export interface RunOptions {
  /** Cut texts and lists of ids over the model's limit instead of refusing them. */
  truncate?: boolean;
  /** Name of the prompt that is put before each text; the model's default prompt if not given, none if `null`. */
  promptName?: string | null;
  /** Runs before the measured ones; if not given, until times are steady. */
  warmup?: number;
  /** Measured runs after the first, whose time is `first_ms`; none if not given. */
  runs?: number;
  /** Time each kernel, where the adapter can. */
  profile?: boolean;
  /**
   * The model's outputs to read, by name: `last_hidden_state`, `pooler_output`, `hidden_states.0`, …; what its answer is made
   * of if not given. Others are not computed.
   */
  outputs?: string[];
  deadlineMs?: number;
  signal?: AbortSignal;
}

/** How far a request is: bytes for `fetch`, runs for `warmup` and `run`; the first run is one of those of `run`. */
export interface Progress {
  stage: "fetch" | "compile" | "warmup" | "run";
  done: number;
  total: number;
}

/** Nested arrays of numbers: u32 where all are whole numbers from 0 on, else f32. */
export type NestedNumbers = number[] | NestedNumbers[];

/** A tensor, row-major. */
export type TensorInput = { shape: number[]; data: Float32Array | Uint32Array } | NestedNumbers;

/** Pixels as an `ImageData` has them: red, green, blue and alpha of each, line by line. Alpha counts for nothing. */
export interface ImageInput {
  width: number;
  height: number;
  data: Uint8ClampedArray | Uint8Array;
}

/**
 * A text, several as one batch, token ids by row, images, or tensors by the names that Hugging Face gives the model's inputs:
 * `input_ids`, and where they are not as they follow from it, `attention_mask` and `token_type_ids`; `pixel_values`.
 */
export type ModelInput =
  | string
  | string[]
  | { ids: number[][] }
  | { images: ImageInput | ImageInput[] }
  | { tensors: Record<string, TensorInput> };

/** What WebNN did. `reported_devices` is the browser's claim. */
export interface WebNnInfo {
  requested: string;
  reported_devices: string[] | null;
  lowering: string;
  parallel_parts: number | null;
  choice: "measured" | "remembered" | null;
  operators: Record<string, number>;
}

export interface LoadReport {
  implementation_type: ImplementationType;
  adapter: Adapter | null;
  webnn: WebNnInfo | null;
  activation_bits: number;
  total_ms: number;
  fetch_ms: number;
  upload_ms: number;
  compile_ms: number | null;
  choosing_ms: number | null;
  package_bytes: number;
  weights_bytes: number;
  wasm_heap_bytes: number;
}

export type ImplementationType = "REAL_WEBGPU" | "REAL_WEBNN" | "REAL_WASM" | "SIMULATED_WEBGPU" | "SIMULATED_WEBNN";

export interface RunReport {
  implementation_type: ImplementationType;
  outputs: { name: string; dtype: "f32" | "f16" | "u32" | "i8"; shape: number[] }[];
  token_counts: number[];
  truncated: boolean;
  /** Of each text, how many of its tokens ran. */
  tokens_kept: { kept: number; of: number }[];
  prepare_ms: number;
  first_ms: number;
  /** Runs between the first and the measured ones. */
  warmup: { runs: number; ms: number; steady: boolean | null };
  run_ms: number[];
  gpu_ms: number[] | null;
  kernels: { operator: string; kernel: string; ms: number; bytes: number }[] | null;
  webnn: WebNnInfo | null;
  variants: Record<string, string>;
  /** Options that were set otherwise than asked for, and why. */
  adjustments: { option: string; value: unknown; code: string | null; reason: string }[];
  dispatches: number | null;
  gpu_peak_bytes: number | null;
  wasm_heap_bytes: number;
  /** What was generated, where that was asked for. */
  generated?: {
    text: string | null;
    tokens: number[];
    finish_reason: FinishReason;
    prompt_tokens: number;
    /** From the prompt's tokens given to the first token chosen. */
    prefill_ms: number;
    /** Of each further token, the time since the one before it. */
    token_ms: number[];
  };
}

/** Why a text ended. */
export type FinishReason = "end_token" | "stop_string" | "max_tokens" | "context_full";

/** How a text is generated; what is not given is as the model's own configuration says. */
export interface GenerateOptions {
  /** Most tokens to make. */
  maxTokens?: number;
  /** Divides the scores before a token is drawn; 0 always takes the likeliest. */
  temperature?: number;
  /** Draw from that many of the likeliest tokens; 0 from all. */
  topK?: number;
  /** Draw from the likeliest tokens up to that probability in all. */
  topP?: number;
  /** Draw from tokens at least that likely, relative to the likeliest. */
  minP?: number;
  /** Above 1, makes tokens that were there before less likely. */
  repetitionPenalty?: number;
  /** Of the random numbers: the same seed draws the same tokens. */
  seed?: number;
  /** Texts that end it, and are no part of it. */
  stop?: string[];
  /** Go on behind the model's end tokens. */
  ignoreEos?: boolean;
  deadlineMs?: number;
  signal?: AbortSignal;
}

/** A piece of a text: what is certain of it by now and was not told before, and the tokens since the last piece. */
export interface TextPart {
  text: string;
  tokens: number[];
}

export interface GenerateResult {
  output: { kind: "text"; text: string | null; tokens: number[]; finish_reason: FinishReason };
  report: RunReport;
}

/**
 * A text as it comes: `for await (const { text } of model.generate(prompt)) …`. Leaving the loop ends it. The last step of an
 * iteration by hand has the result as its value.
 */
export interface TextStream extends AsyncIterableIterator<TextPart> {
  /** The whole text, once it has ended. */
  result(): Promise<GenerateResult>;
}

/** A tensor of a result, row-major. */
export interface TensorOutput {
  shape: number[];
  data: Float32Array | Uint32Array | Int8Array;
}

/** A label and how likely it is, from 0 to 1. */
export interface Label {
  label: string;
  probability: number;
}

/**
 * The answer: one vector an item of a model that makes embeddings, the likeliest labels of each item of a classifier, else the
 * outputs themselves.
 */
export type Output =
  | { kind: "embeddings"; embeddings: Float32Array[] }
  | { kind: "labels"; labels: Label[][] }
  | { kind: "tensors"; tensors: Record<string, TensorOutput> };

export interface RunResult {
  /** The answer, as the record has it. */
  output: Output;
  /** Those that were asked for, or what the answer is made of, by name; row-major. */
  outputs: Record<string, TensorOutput>;
  /** How it was measured. */
  report: RunReport;
}

/** What `Model` and `capabilities` throw. */
export interface WebnibbleError extends Error {
  name: "WebnibbleError";
  /** What kind of failure: `webgpu_unavailable`, `fetch`, `bad_package`, `out_of_memory`, `bad_input`, … */
  code: string;
  /** What to do about it; may be empty. */
  hint: string;
}
"#;

#[wasm_bindgen]
extern "C" {
    /// Throws for a proxy that was revoked.
    #[wasm_bindgen(catch, js_namespace = Array, js_name = isArray)]
    pub(super) fn is_array(value: &JsValue) -> Result<bool, JsValue>;

    /// An [`Error`] with the fields of `WebnibbleError`.
    #[wasm_bindgen(extends = Error)]
    pub(super) type WebnibbleError;

    #[wasm_bindgen(method, setter)]
    pub(super) fn set_code(this: &WebnibbleError, code: &JsValue);

    #[wasm_bindgen(method, setter)]
    pub(super) fn set_hint(this: &WebnibbleError, hint: &str);

    /// `AbortSignal`, with the one method that web-sys would need `EventTarget` for.
    pub(super) type Abortable;

    #[wasm_bindgen(method, js_name = addEventListener)]
    pub(super) fn add_event_listener(this: &Abortable, kind: &str, handler: &Function);

    #[wasm_bindgen(method, js_name = removeEventListener)]
    pub(super) fn remove_event_listener(this: &Abortable, kind: &str, handler: &Function);
}
