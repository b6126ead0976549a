//! Operators in parts: so that no binding is larger than the adapter takes, and no dispatch works for too long.
//!
//! Rows of a matrix, rows of an input and items of a batch do not depend on one another, so a part is the same kernel
//! over a range of them. Ranges begin where every plane that is bound begins at a multiple of [`ALIGNMENT`].

use std::ops::Range;

use super::device::DeviceCaps;

/// Bind group entries must begin at multiples of this on every adapter, in bytes.
pub(crate) const ALIGNMENT: usize = 256;

/// Parts that operators are cut into at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunking {
    /// Most bytes of a binding, where the adapter takes more.
    pub binding_bytes: usize,
    /// Most multiply-adds of a dispatch of a linear or attention kernel.
    pub multiply_adds: usize,
}

impl Chunking {
    /// Only where the adapter's limits demand it.
    pub const BY_ADAPTER: Chunking = Chunking { binding_bytes: usize::MAX, multiply_adds: usize::MAX };

    /// For browsers that give up on long dispatches and large buffers: bindings of 32 MiB, and 2³¹ multiply-adds, which
    /// take a GPU of 100 GFLOP/s 43 ms.
    pub const CAREFUL: Chunking = Chunking { binding_bytes: 32 << 20, multiply_adds: 1 << 31 };
}

/// What a part may take, on an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Most bytes of a binding of a part.
    pub(crate) binding_bytes: usize,
    /// Most bytes of a buffer.
    pub(crate) buffer_bytes: usize,
    /// Most multiply-adds of a part.
    pub(crate) multiply_adds: usize,
}

impl Limits {
    pub(crate) fn new(caps: &DeviceCaps, chunking: Option<Chunking>) -> Self {
        match chunking {
            Some(chunking) => Self {
                binding_bytes: chunking.binding_bytes.min(caps.storage_binding_bytes).min(caps.buffer_bytes),
                buffer_bytes: caps.buffer_bytes,
                multiply_adds: chunking.multiply_adds,
            },
            // Nothing is cut: what is too large is an error, not here.
            None => Self { binding_bytes: usize::MAX, buffer_bytes: usize::MAX, multiply_adds: usize::MAX },
        }
    }

    /// Items of a part, of `total` items: `item_bytes` are the bytes of one in every binding, `work` its multiply-adds.
    /// At least as many as alignment takes, so a part may still be over a limit.
    pub(crate) fn items(&self, total: usize, item_bytes: &[usize], work: usize) -> usize {
        let largest = item_bytes.iter().copied().max().unwrap_or(0);
        let fitting = (self.binding_bytes / largest.max(1)).min(self.multiply_adds / work.max(1));
        if fitting >= total {
            return total;
        }
        let step = item_bytes.iter().map(|bytes| step_of(*bytes)).max().unwrap_or(1);
        (fitting / step * step).clamp(step.min(total), total)
    }
}

/// Items of so many bytes that lie between two aligned places: a power of two.
pub(crate) fn step_of(item_bytes: usize) -> usize {
    let odd = item_bytes.trailing_zeros().min(ALIGNMENT.trailing_zeros());
    ALIGNMENT >> odd
}

/// `range` in parts of at most `size`.
pub(crate) fn parts(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(size.max(1)).map(move |first| first..(first + size).min(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_range_and_none_is_too_long() {
        assert_eq!(parts(0..10, 4).collect::<Vec<_>>(), [0..4, 4..8, 8..10]);
        assert_eq!(parts(3..9, 4).collect::<Vec<_>>(), [3..7, 7..9]);
        assert_eq!(parts(0..0, 4).count(), 0);
    }

    #[test]
    fn items_keep_the_limits_and_begin_aligned() {
        let limits = Limits { binding_bytes: 10_000, buffer_bytes: usize::MAX, multiply_adds: 1000 };
        assert_eq!(limits.items(100, &[4, 100], 1), 100);
        assert_eq!(limits.items(1000, &[4, 100], 1), 64);
        assert_eq!(limits.items(1000, &[256], 1), 39);
        assert_eq!(limits.items(1000, &[256], 100), 10);
        // Two items of 12 bytes do not begin aligned: at least 64 do, whatever the limit.
        assert_eq!(limits.items(1000, &[12], 999), 64);
        assert_eq!(limits.items(5, &[12], 999), 5);
        let none = Limits::new(&DeviceCaps::CORE, None);
        assert_eq!(none.items(1000, &[1 << 20], 1 << 20), 1000);
    }

    #[test]
    fn steps_are_the_fewest_aligned_items() {
        assert_eq!([4, 12, 16, 256, 768, 0].map(step_of), [64, 64, 16, 1, 1, 1]);
    }
}
