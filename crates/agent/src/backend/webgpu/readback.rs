//! From the device into wasm memory: one copy, straight from the mapped range into what the caller keeps.

use js_sys::{ArrayBuffer, BigUint64Array, Float32Array, Uint32Array, Undefined};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::{GpuBuffer, gpu_buffer_usage, gpu_map_mode};
use webnibble_common::tensor::{DType, Tensor, TensorError, element_count};
use webnibble_common::wire::RemoteError;
use webnibble_kernels::plan::Port;

use super::memory::{Buffer, Memory};

/// A buffer that results are copied into, to be mapped for this side to read.
pub(super) struct Readback(pub(super) Buffer);

impl Readback {
    pub(super) fn new(memory: &Memory, label: &str, bytes: usize) -> Result<Self, RemoteError> {
        let usage = gpu_buffer_usage::MAP_READ | gpu_buffer_usage::COPY_DST;
        memory.buffer(label, bytes, usage).map(Self)
    }

    /// Asks for the bytes, as they are once all is done that was submitted before.
    pub(super) fn map(&self) -> Mapping<'_> {
        Mapping { buffer: &self.0, mapped: JsFuture::from(self.0.map_async(gpu_map_mode::READ)) }
    }
}

/// A readback that is asked for, or there. It ends when this is dropped: a run that nobody waits for any more leaves the
/// buffer as it found it.
pub(super) struct Mapping<'a> {
    buffer: &'a GpuBuffer,
    mapped: JsFuture<Undefined>,
}

impl Mapping<'_> {
    /// The bytes, once they are there. To be called once; they are gone with the mapping.
    pub(super) async fn bytes(&mut self) -> Result<ArrayBuffer, JsValue> {
        (&mut self.mapped).await?;
        self.buffer.get_mapped_range()
    }
}

impl Drop for Mapping<'_> {
    fn drop(&mut self) {
        self.buffer.unmap();
    }
}

/// Copies the elements of an output, which begin at byte `at`. The copy is the tensor's own memory: wasm memory that was
/// given back by earlier ones, whose pages are there already.
pub(super) fn tensor(port: &Port, bytes: &ArrayBuffer, at: usize) -> Result<Tensor, TensorError> {
    let (at, count) = (at as u32, element_count(&port.shape) as u32);
    match port.dtype {
        DType::F32 => {
            let elements = Float32Array::new_with_byte_offset_and_length(bytes, at, count);
            Tensor::f32(port.shape.clone(), elements.to_vec())
        }
        DType::U32 => {
            let elements = Uint32Array::new_with_byte_offset_and_length(bytes, at, count);
            Tensor::u32(port.shape.clone(), elements.to_vec())
        }
    }
}

/// Copies all of it as 64-bit integers, as numbers.
pub(super) fn numbers(bytes: &ArrayBuffer) -> Vec<f64> {
    BigUint64Array::new(bytes).to_vec().into_iter().map(|number| number as f64).collect()
}
