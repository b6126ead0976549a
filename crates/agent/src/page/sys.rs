//! Bindings written by hand: what the page's script gives to `startPage`.

use js_sys::WebAssembly;
use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** What `startPage` needs. */
export interface PageConfig {
  /** Address of the host's socket: `ws://127.0.0.1:1234/socket`. */
  socketUrl: string;
  /** The one-time token of the page's URL. */
  token: string;
  /** Address of the Worker's script. */
  workerUrl: string;
  /** The same for transformers.js: the policy of that response lets the Worker make functions from text. */
  transformersJsWorkerUrl: string;
  /** This package's compiled module, which the Worker instantiates again. */
  module: WebAssembly.Module;
}

/** What `startPage` reports, for a page to show. */
export type PageEvent =
  | { type: "connection"; state: "connecting" | "open" | "lost" | "refused" | "closed"; detail: string; hint: string }
  | { type: "request"; message: { id: number; type: string } & Record<string, unknown> }
  | { type: "message"; message: { id: number; type: string } & Record<string, unknown> }
  | { type: "output"; id: number; part: number; head: number[] }
  | { type: "worker"; detail: string };
"#;

#[wasm_bindgen]
extern "C" {
    /// What [`start_page`](super::start_page) needs: see `PageConfig` in the TypeScript declarations.
    #[wasm_bindgen(typescript_type = "PageConfig")]
    pub type PageConfig;

    #[wasm_bindgen(method, getter, js_name = socketUrl)]
    pub(super) fn socket_url(this: &PageConfig) -> String;

    #[wasm_bindgen(method, getter)]
    pub(super) fn token(this: &PageConfig) -> String;

    #[wasm_bindgen(method, getter, js_name = workerUrl)]
    pub(super) fn worker_url(this: &PageConfig) -> String;

    #[wasm_bindgen(method, getter, js_name = transformersJsWorkerUrl)]
    pub(super) fn transformers_js_worker_url(this: &PageConfig) -> String;

    #[wasm_bindgen(method, getter)]
    pub(super) fn module(this: &PageConfig) -> WebAssembly::Module;

    /// A function that takes a `PageEvent`.
    #[wasm_bindgen(typescript_type = "(event: PageEvent) => void")]
    pub type PageEventHandler;
}
