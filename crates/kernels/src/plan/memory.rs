//! Buffers for the values between operators: reused as soon as their last reader is done.
//!
//! Greedy by order of execution: a new value takes the smallest free buffer that holds it, otherwise the largest
//! free one grows. On a chain of layers this ends with a handful of buffers.

use super::recording::{Buffer, BufferId, BufferKind};

/// Scratch buffers that are free at this point of the recording.
#[derive(Debug, Default)]
pub(super) struct Pool {
    free: Vec<BufferId>,
}

impl Pool {
    /// A buffer of at least `bytes`.
    pub(super) fn take(&mut self, buffers: &mut Vec<Buffer>, bytes: usize) -> BufferId {
        let fitting = self.free.iter().filter(|id| buffers[id.0].bytes >= bytes).min_by_key(|id| buffers[id.0].bytes);
        let chosen = fitting.or_else(|| self.free.iter().max_by_key(|id| buffers[id.0].bytes)).copied();
        match chosen {
            Some(id) => {
                self.free.retain(|other| *other != id);
                buffers[id.0].bytes = buffers[id.0].bytes.max(bytes);
                id
            }
            None => {
                let id = BufferId(buffers.len());
                buffers.push(Buffer { label: format!("scratch.{}", id.0), bytes, kind: BufferKind::Scratch });
                id
            }
        }
    }

    /// Takes a buffer back.
    pub(super) fn give(&mut self, id: BufferId) {
        debug_assert!(!self.free.contains(&id), "a buffer is given back once");
        self.free.push(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_reused_and_grow() {
        let (mut pool, mut buffers) = (Pool::default(), Vec::new());
        let a = pool.take(&mut buffers, 100);
        let b = pool.take(&mut buffers, 50);
        assert_ne!(a, b);
        pool.give(a);
        pool.give(b);
        assert_eq!(pool.take(&mut buffers, 40), b);
        assert_eq!(pool.take(&mut buffers, 200), a);
        assert_eq!((buffers.len(), buffers[a.0].bytes), (2, 200));
    }
}
