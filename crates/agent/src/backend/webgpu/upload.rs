//! Planes of a package on their way into GPU buffers.

use js_sys::Uint8Array;
use webnibble_common::package::{Part, Plane};
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_kernels::plan::PlaneSlot;

use super::Model;
use super::errors::thrown;
use crate::error::error;

impl Model {
    /// Mapped GPU memory of exactly the plane's length; a JavaScript buffer for a plane that several GPU buffers hold.
    pub(crate) fn begin_plane(&mut self, plane: &Plane) -> Result<Uint8Array, RemoteError> {
        self.map_plane(&plane.tensor, plane.part, (plane.end - plane.begin) as usize)
    }

    /// Unmaps the buffer once all its planes came.
    pub(crate) fn finish_plane(&mut self, plane: &Plane, view: &Uint8Array) -> Result<(), RemoteError> {
        self.seal_plane(&plane.tensor, plane.part, view)
    }

    pub(in crate::backend) fn map_plane(
        &mut self,
        tensor: &str,
        part: Part,
        bytes: usize,
    ) -> Result<Uint8Array, RemoteError> {
        let slots = self.slots(tensor, part)?;
        let wanted: usize = slots.iter().map(|slot| slot.bytes).sum();
        if wanted != bytes {
            let message = format!("plane {part:?} of `{tensor}` should have {wanted} bytes, found {bytes}");
            return Err(error(ErrorCode::BadPackage, message, "quantize the model again"));
        }
        match slots[..] {
            [slot] => self.map(slot),
            _ => Ok(Uint8Array::new_with_length(bytes as u32)),
        }
    }

    pub(in crate::backend) fn seal_plane(
        &mut self,
        tensor: &str,
        part: Part,
        view: &Uint8Array,
    ) -> Result<(), RemoteError> {
        let slots = self.slots(tensor, part)?;
        let mut at = 0;
        for slot in &slots {
            if slots.len() > 1 {
                let end = at + slot.bytes as u32;
                self.map(*slot)?.set(&view.subarray(at, end), 0);
                at = end;
            }
            let memory = &mut self.buffers[slot.buffer];
            memory.waiting = memory.waiting.saturating_sub(1);
            if let (0, Some(buffer)) = (memory.waiting, &memory.buffer) {
                buffer.unmap();
            }
        }
        Ok(())
    }

    /// Where a plane lies: in one place at least.
    fn slots(&self, tensor: &str, part: Part) -> Result<Vec<PlaneSlot>, RemoteError> {
        match self.plan.slots(self.selected.last(), tensor, part) {
            [] => Err(unknown_plane(tensor, part)),
            slots => Ok(slots.to_vec()),
        }
    }

    /// The mapped memory of a place; its buffer is made unless it is there.
    fn map(&mut self, slot: PlaneSlot) -> Result<Uint8Array, RemoteError> {
        let buffer = match &mut self.buffers[slot.buffer].buffer {
            Some(buffer) => buffer,
            missing => {
                let wanted = &self.plan.buffers[slot.buffer];
                missing.insert(self.memory.weight_buffer(&wanted.label, wanted.bytes as u64)?)
            }
        };
        let range = buffer.get_mapped_range_with_f64_and_f64(slot.offset as f64, slot.bytes as f64);
        let range = range.map_err(|e| thrown(&e))?;
        Ok(Uint8Array::new(&range))
    }
}

fn unknown_plane(tensor: &str, part: Part) -> RemoteError {
    let message = format!("plane {part:?} of `{tensor}` is not one that the model's graph has");
    error(ErrorCode::BadPackage, message, "quantize the model again with this version")
}
