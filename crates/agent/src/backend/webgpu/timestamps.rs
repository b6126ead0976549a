//! Timing each dispatch on the device.

use wasm_bindgen::JsValue;
use web_sys::{
    GpuCommandEncoder, GpuComputePassDescriptor, GpuComputePassTimestampWrites, GpuQuerySet, GpuQuerySetDescriptor,
    GpuQueryType, gpu_buffer_usage,
};
use webnibble_common::wire::{KernelTime, RemoteError};
use webnibble_kernels::plan::Recording;

use super::errors::thrown;
use super::memory::{Buffer, Memory};
use super::readback::Readback;

/// Begin and end of each dispatch of a recording.
pub(super) struct Timestamps {
    set: GpuQuerySet,
    count: u32,
    resolved: Buffer,
    pub(super) readback: Readback,
}

impl Timestamps {
    pub(super) fn new(memory: &Memory, dispatches: usize) -> Result<Self, RemoteError> {
        let (count, bytes) = (dispatches as u32 * 2, dispatches * 16);
        let resolved_usage = gpu_buffer_usage::QUERY_RESOLVE | gpu_buffer_usage::COPY_SRC;
        let resolved = memory.buffer("timestamps", bytes, resolved_usage)?;
        let readback = Readback::new(memory, "timestamps.readback", bytes)?;
        let descriptor = GpuQuerySetDescriptor::new(count, GpuQueryType::Timestamp);
        let set = memory.gpu.device.create_query_set(&descriptor).map_err(|e| thrown(&e))?;
        Ok(Self { set, count, resolved, readback })
    }

    /// What a pass is begun with that holds the dispatch alone.
    pub(super) fn pass(&self, dispatch: usize) -> GpuComputePassDescriptor {
        let writes = GpuComputePassTimestampWrites::new(&self.set);
        writes.set_beginning_of_pass_write_index(dispatch as u32 * 2);
        writes.set_end_of_pass_write_index(dispatch as u32 * 2 + 1);
        let descriptor = GpuComputePassDescriptor::new();
        descriptor.set_timestamp_writes(&writes);
        descriptor
    }

    /// Makes them ready to be read, after the passes.
    pub(super) fn resolve(&self, encoder: &GpuCommandEncoder) -> Result<(), JsValue> {
        encoder.resolve_query_set_with_u32(&self.set, 0, self.count, &self.resolved, 0);
        let bytes = self.count * 8;
        encoder.copy_buffer_to_buffer_with_u32_and_u32_and_u32(&self.resolved, 0, &self.readback.buffer, 0, bytes)
    }
}

impl Drop for Timestamps {
    fn drop(&mut self) {
        self.set.destroy();
    }
}

/// From the first begin to the last end, in ms; `times` in ns.
pub(super) fn whole_ms(times: &[f64]) -> Option<f64> {
    Some((times.last()? - times.first()?) / 1e6)
}

/// The time of each dispatch; `times` in ns.
pub(super) fn kernel_times(recording: &Recording, times: &[f64]) -> Vec<KernelTime> {
    let of = recording.dispatches.iter().zip(times.chunks_exact(2));
    of.map(|(dispatch, t)| KernelTime {
        operator: dispatch.operator.clone(),
        kernel: dispatch.kernel.to_string(),
        ms: (t[1] - t[0]) / 1e6,
        bytes: dispatch.bindings.iter().map(|b| b.bytes as u64).sum(),
    })
    .collect()
}
