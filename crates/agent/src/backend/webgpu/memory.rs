//! Buffers on the device.

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;

use futures_util::future::{FutureExt, LocalBoxFuture};
use js_sys::Uint8Array;
use web_sys::{GpuBuffer, GpuBufferDescriptor, gpu_buffer_usage};
use webnibble_common::wire::{ErrorCode, RemoteError};

use super::errors::{gpu_error, message_of, refused, thrown, watch};
use super::gpu::Gpu;

/// A buffer that is destroyed with its owner.
pub(super) struct Buffer(GpuBuffer);

impl Deref for Buffer {
    type Target = GpuBuffer;

    fn deref(&self) -> &GpuBuffer {
        &self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.0.destroy();
    }
}

/// A weight buffer, and the planes that it still waits for before it can be unmapped.
pub(super) struct WeightMemory {
    pub(super) buffer: Option<Buffer>,
    pub(super) waiting: usize,
}

/// Where one model's buffers come from, on a device that others share, and what became of its requests for them.
pub(super) struct Memory {
    pub(super) gpu: Rc<Gpu>,
    /// Why each request since the last check failed, where it did.
    requests: RefCell<Vec<LocalBoxFuture<'static, Option<RemoteError>>>>,
}

impl Memory {
    pub(super) fn new(gpu: &Rc<Gpu>) -> Self {
        Self { gpu: Rc::clone(gpu), requests: RefCell::default() }
    }

    /// Does `work` on the device; [`Memory::check`] tells its errors as those of `what`.
    pub(super) fn request<T>(&self, what: String, work: impl FnOnce() -> T) -> T {
        let (done, watched) = watch(&self.gpu.device, work);
        let failure = async move {
            let error = watched.error().await?;
            Some(refused(&error, format!("{what}: {}", error.message())))
        };
        self.requests.borrow_mut().push(failure.boxed_local());
        done
    }

    /// A buffer of `bytes`.
    pub(super) fn buffer(&self, label: &str, bytes: usize, usage: u32) -> Result<Buffer, RemoteError> {
        self.create(label, bytes as u64, usage, false)
    }

    /// A buffer that holds `bytes`.
    pub(super) fn filled(&self, label: &str, bytes: &[u8], usage: u32) -> Result<Buffer, RemoteError> {
        let buffer = self.buffer(label, bytes.len(), usage | gpu_buffer_usage::COPY_DST)?;
        let bytes = Uint8Array::from(bytes);
        let write = || self.gpu.queue.write_buffer_with_u32_and_u8_array(&buffer, 0, &bytes);
        self.request(label.to_owned(), write).map_err(|e| thrown(&e))?;
        Ok(buffer)
    }

    /// A buffer of weights, mapped so that bytes go straight into it.
    pub(super) fn weight_buffer(&self, label: &str, bytes: u64) -> Result<Buffer, RemoteError> {
        self.create(label, bytes, gpu_buffer_usage::STORAGE | gpu_buffer_usage::COPY_SRC, true)
    }

    fn create(&self, label: &str, bytes: u64, usage: u32, mapped: bool) -> Result<Buffer, RemoteError> {
        let descriptor = GpuBufferDescriptor::new_with_f64(bytes as f64, usage);
        descriptor.set_label(label);
        descriptor.set_mapped_at_creation(mapped);
        let what = format!("{bytes} bytes for {label}");
        let made = self.request(what.clone(), || self.gpu.device.create_buffer(&descriptor));
        made.map(Buffer).map_err(|e| gpu_error(ErrorCode::OutOfMemory, format!("{what}: {}", message_of(&e))))
    }

    /// Waits for all requests since the last call: fails as the first of them that failed.
    pub(super) async fn check(&self) -> Result<(), RemoteError> {
        let mut failure = None;
        for request in self.requests.take() {
            let failed = request.await;
            failure = failure.or(failed);
        }
        self.gpu.check_lost()?;
        match failure {
            Some(failure) => Err(self.gpu.cause(failure).await),
            None => Ok(()),
        }
    }
}
