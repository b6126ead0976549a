//! From the device into wasm memory: one copy, straight from the mapped range into what the caller keeps.

use half::f16;
use js_sys::{ArrayBuffer, BigUint64Array, Float32Array, Int8Array, Uint16Array, Uint32Array, Undefined};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::{GpuBuffer, gpu_buffer_usage, gpu_map_mode};
use webnibble_common::tensor::{DType, Data, Tensor, TensorError, element_count};
use webnibble_common::wire::RemoteError;
use webnibble_kernels::plan::{FOUND_WORDS, Found, Port};

use super::memory::{Buffer, Memory};

/// A buffer that results are copied into, to be mapped for this side to read.
pub(super) struct Readback {
    pub(super) buffer: Buffer,
    /// Its size.
    pub(super) bytes: usize,
}

impl Readback {
    pub(super) fn new(memory: &Memory, label: &str, bytes: usize) -> Result<Self, RemoteError> {
        let usage = gpu_buffer_usage::MAP_READ | gpu_buffer_usage::COPY_DST;
        Ok(Self { buffer: memory.buffer(label, bytes, usage)?, bytes })
    }

    /// Asks for the bytes, as they are once all is done that was submitted before.
    pub(super) fn map(&self) -> Mapping {
        let buffer = (*self.buffer).clone();
        Mapping { mapped: JsFuture::from(buffer.map_async(gpu_map_mode::READ)), buffer }
    }
}

/// A readback that is asked for, or there. It ends when this is dropped: a run that nobody waits for any more leaves the
/// buffer as it found it.
pub(super) struct Mapping {
    buffer: GpuBuffer,
    mapped: JsFuture<Undefined>,
}

impl Mapping {
    /// The bytes, once they are there. To be called once; they are gone with the mapping.
    pub(super) async fn bytes(&mut self) -> Result<ArrayBuffer, JsValue> {
        (&mut self.mapped).await?;
        self.buffer.get_mapped_range()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.buffer.unmap();
    }
}

/// Copies the elements of an output, which begin at byte `at`. The copy is the tensor's own memory: wasm memory that was
/// given back by earlier ones, whose pages are there already.
pub(super) fn tensor(port: &Port, bytes: &ArrayBuffer, at: usize) -> Result<Tensor, TensorError> {
    let (at, count) = (at as u32, element_count(&port.shape) as u32);
    let elements: Data = match port.dtype {
        DType::F32 => Float32Array::new_with_byte_offset_and_length(bytes, at, count).to_vec().into(),
        DType::F16 => {
            let bits = Uint16Array::new_with_byte_offset_and_length(bytes, at, count).to_vec();
            bits.into_iter().map(f16::from_bits).collect::<Vec<_>>().into()
        }
        DType::U32 => Uint32Array::new_with_byte_offset_and_length(bytes, at, count).to_vec().into(),
        DType::I8 => Int8Array::new_with_byte_offset_and_length(bytes, at, count).to_vec().into(),
    };
    Tensor::new(port.shape.clone(), elements)
}

/// The token at byte `at`.
pub(super) fn token(bytes: &ArrayBuffer, at: usize) -> u32 {
    Uint32Array::new_with_byte_offset_and_length(bytes, at as u32, 1).get_index(0)
}

/// What the device found in outputs that is no number; `at` is the first byte.
pub(super) fn found(bytes: &ArrayBuffer, at: usize, outputs: usize) -> Vec<Option<Found>> {
    let words = Uint32Array::new_with_byte_offset_and_length(bytes, at as u32, (outputs * FOUND_WORDS) as u32).to_vec();
    words.as_chunks::<FOUND_WORDS>().0.iter().map(|words| Found::read(*words)).collect()
}

/// Copies all of it as 64-bit integers, as numbers.
pub(super) fn numbers(bytes: &ArrayBuffer) -> Vec<f64> {
    BigUint64Array::new(bytes).to_vec().into_iter().map(|number| number as f64).collect()
}
