//! What the browser can do, asked once where it will be used: in the Worker.

use js_sys::{Object, Reflect, Uint8Array, WebAssembly};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use webnibble_common::capabilities::{Capabilities, Memory, Wasm, WebGl, WebGpu};

use crate::backend::Devices;
use crate::fields::{field, number, sorted_names};
use crate::sys::{gpu, hardware_concurrency, user_agent};
use crate::tasks::within;

mod sys;
mod webnn;

use sys::{CROSS_ORIGIN_ISOLATED, NAVIGATOR, Navigator, OffscreenCanvas, Storage};

/// A driver that hangs must not keep the page from saying what else it can do.
const GPU_TIMEOUT_MS: f64 = 15_000.0;

/// Finds out everything. Opens the GPU device in `devices`, since only that tells whether there is one.
pub(crate) async fn detect(devices: &mut Devices) -> Capabilities {
    Capabilities {
        user_agent: user_agent(),
        hardware_concurrency: hardware_concurrency(),
        webgpu: webgpu(devices).await,
        webnn: webnn::detect().await,
        webgl: webgl().unwrap_or_default(),
        wasm: wasm(),
        cross_origin_isolated: CROSS_ORIGIN_ISOLATED.with(|isolated| isolated.unwrap_or(false)),
        opfs: opfs().await.unwrap_or(false),
        memory: Memory {
            device_gib: NAVIGATOR.with(Navigator::device_memory),
            js_heap_limit_bytes: js_heap_limit_bytes(),
        },
    }
}

async fn webgpu(devices: &mut Devices) -> WebGpu {
    let Some(gpu) = gpu() else {
        let error = "navigator.gpu is missing: the browser is too old, has WebGPU switched off, or the page is neither \
                     on https nor on localhost";
        return WebGpu { error: Some(error.to_owned()), ..WebGpu::default() };
    };
    let (adapter, error) = match within(GPU_TIMEOUT_MS, devices.gpu(false)).await {
        Some(Ok(gpu)) => (Some(gpu.adapter.clone()), None),
        Some(Err(error)) => (None, Some(error.message)),
        None => (None, Some(format!("the browser gave no device within {GPU_TIMEOUT_MS} ms"))),
    };
    let wgsl_language_features = field(&gpu, "wgslLanguageFeatures").map(|set| sorted_names(&set)).unwrap_or_default();
    WebGpu { present: true, adapter, error, wgsl_language_features }
}

/// The highest version that an offscreen canvas gives, and who draws it.
fn webgl() -> Result<WebGl, JsValue> {
    /// `UNMASKED_RENDERER_WEBGL` of the extension `WEBGL_debug_renderer_info`.
    const UNMASKED_RENDERER: u32 = 0x9246;
    for (version, kind) in [(2, "webgl2"), (1, "webgl")] {
        // A canvas keeps the first kind of context that it was asked for.
        let Some(context) = OffscreenCanvas::new(1, 1)?.get_context(kind)? else { continue };
        let renderer = match context.get_extension("WEBGL_debug_renderer_info")? {
            Some(_) => context.get_parameter(UNMASKED_RENDERER)?.as_string(),
            None => None,
        };
        if let Some(lose) = context.get_extension("WEBGL_lose_context")? {
            let lose_context: js_sys::Function = Reflect::get(&lose, &"loseContext".into())?.dyn_into()?;
            lose_context.call0(&lose)?;
        }
        return Ok(WebGl { version, renderer });
    }
    Ok(WebGl::default())
}

/// `() -> v128`: `i8x16.popcnt (i8x16.splat 0)`.
const SIMD_MODULE: &[u8] =
    &[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

/// `() -> v128`: `i8x16.relaxed_swizzle (i8x16.splat 1) (i8x16.splat 2)`.
const RELAXED_SIMD_MODULE: &[u8] = &[
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15,
    253, 128, 2, 11,
];

/// `() -> ()`: `i32.atomic.load` from a shared memory.
const THREADS_MODULE: &[u8] = &[
    0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 5, 4, 1, 3, 1, 1, 10, 11, 1, 9, 0, 65, 0, 254, 16, 2,
    0, 26, 11,
];

fn wasm() -> Wasm {
    let valid = |module: &[u8]| WebAssembly::validate(&Uint8Array::from(module)).unwrap_or(false);
    let shared_memory = Reflect::has(&js_sys::global(), &"SharedArrayBuffer".into()).unwrap_or(false);
    Wasm {
        simd: valid(SIMD_MODULE),
        relaxed_simd: valid(RELAXED_SIMD_MODULE),
        threads: shared_memory && valid(THREADS_MODULE),
    }
}

/// Whether the origin private file system opens, and has synchronous handles here.
async fn opfs() -> Result<bool, JsValue> {
    let handle: JsValue = Reflect::get(&js_sys::global(), &"FileSystemFileHandle".into())?;
    let Some(class) = handle.dyn_ref::<Object>() else { return Ok(false) };
    let prototype = Reflect::get(class, &"prototype".into())?;
    if !Reflect::has(&prototype, &"createSyncAccessHandle".into())? {
        return Ok(false);
    }
    match NAVIGATOR.with(Navigator::storage).as_ref().map(Storage::get_directory) {
        Some(directory) => JsFuture::from(directory?).await.map(|_| true),
        None => Ok(false),
    }
}

/// `performance.memory.jsHeapSizeLimit`, which only Chromium has, and only in pages.
pub(crate) fn js_heap_limit_bytes() -> Option<u64> {
    let memory = field(&field(&js_sys::global(), "performance")?, "memory")?;
    number(&memory, "jsHeapSizeLimit").map(|bytes| bytes as u64)
}

#[cfg(test)]
mod tests;
