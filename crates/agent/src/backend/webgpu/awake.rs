//! Keeping the browser's GPU process awake while somebody waits for it.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;

use futures_util::future::{Either, select};
use js_sys::Uint8Array;
use wasm_bindgen_futures::spawn_local;
use web_sys::{GpuBuffer, GpuBufferDescriptor, GpuDevice, GpuErrorFilter, gpu_buffer_usage};
use webnibble_common::wire::RemoteError;

use super::errors::thrown;
use crate::sys::{next_task, now_ms};

// While the machine's GPU process sleeps between polls, a finished readback waits up to 2.4 ms; a tiny submit wakes it
// (docs/gpu.md has what was measured). No more pokes are sent than it keeps up with: they would pile up while it works, and
// delay what comes after.
const POKES_OUTSTANDING: usize = 2;
const POKE_INTERVAL_MS: f64 = 0.05;
const SLOW_POKE_INTERVAL_MS: f64 = 1.0;
const SLOW_AFTER_MS: f64 = 30.0;

/// Pokes of one device.
pub(super) struct Awake {
    device: GpuDevice,
    buffer: GpuBuffer,
    data: Uint8Array,
    /// Pokes that the GPU process has not taken yet.
    outstanding: Rc<Cell<usize>>,
}

impl Awake {
    pub(super) fn new(device: &GpuDevice) -> Result<Self, RemoteError> {
        let data = Uint8Array::new_with_length(4);
        let descriptor = GpuBufferDescriptor::new(data.length(), gpu_buffer_usage::COPY_DST);
        descriptor.set_label("poke");
        let buffer = device.create_buffer(&descriptor).map_err(|e| thrown(&e))?;
        Ok(Self { device: device.clone(), buffer, data, outstanding: Rc::default() })
    }

    /// What `work` gives; pokes until it does, or until the device is lost.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>, is_lost: impl Fn() -> bool) -> T {
        match select(pin!(work), pin!(self.poke_until(is_lost))).await {
            Either::Left((done, _)) => done,
            Either::Right(((), work)) => work.await,
        }
    }

    /// Pokes that the GPU process has not taken yet. For tests.
    #[cfg(test)]
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.get()
    }

    async fn poke_until(&self, is_lost: impl Fn() -> bool) {
        let start = now_ms();
        let mut last = start;
        next_task().await;
        while !is_lost() {
            let now = now_ms();
            let interval = if now - start < SLOW_AFTER_MS { POKE_INTERVAL_MS } else { SLOW_POKE_INTERVAL_MS };
            if now - last >= interval && self.outstanding.get() < POKES_OUTSTANDING {
                self.poke();
                last = now;
            }
            next_task().await;
        }
    }

    /// A tiny submit. The error scope around it ends when the GPU process has taken it, which is long before the GPU is done.
    fn poke(&self) {
        self.outstanding.update(|pokes| pokes + 1);
        self.device.push_error_scope(GpuErrorFilter::Validation);
        let queue = self.device.queue();
        // Whether it was written does not matter.
        let _ = queue.write_buffer_with_u32_and_u8_array(&self.buffer, 0, &self.data);
        queue.submit(&[]);
        let (taken, outstanding) = (self.device.pop_error_scope(), Rc::clone(&self.outstanding));
        spawn_local(async move {
            // A lost device takes it as well.
            let _ = taken.await;
            outstanding.update(|pokes| pokes - 1);
        });
    }
}
