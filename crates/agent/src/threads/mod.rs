//! Threads of the CPU executor: Workers over one memory, where the binary has one to share.
//!
//! Only the binary that is built for them has threads (scripts/build-wasm.sh), and only pages that are cross-origin
//! isolated can load it. The others compute on one thread, and say so.

use webnibble_kernels::cpu::Threads;

#[cfg(target_feature = "atomics")]
mod shared;
#[cfg(target_feature = "atomics")]
mod sys;

#[cfg(target_feature = "atomics")]
pub use shared::serve_thread;

/// More are of no use to a fork and join over small pieces.
const MOST: u32 = 64;

/// More than this share the memory's bandwidth and the machine's other work for little.
const MOST_UNASKED: u32 = 8;

/// The threads for a model: as many as `asked`, or as the machine has sense for. Fewer where the browser refuses some:
/// [`Threads::count`] tells.
pub(crate) async fn start(asked: Option<u32>, hardware_concurrency: u32) -> Threads {
    let wanted = asked.unwrap_or_else(|| unasked(hardware_concurrency)).clamp(1, MOST);
    #[cfg(target_feature = "atomics")]
    if wanted > 1 && sys::may_block() {
        return shared::start(wanted).await;
    }
    let _ = wanted;
    Threads::single()
}

/// Browsers count hardware threads, of which two usually share a core and its arithmetic units; small machines often
/// have as many cores.
fn unasked(hardware_concurrency: u32) -> u32 {
    if hardware_concurrency <= 4 { hardware_concurrency } else { hardware_concurrency.div_ceil(2).min(MOST_UNASKED) }
}

/// How matrix products are computed in this binary.
pub(crate) fn product() -> &'static str {
    if cfg!(target_feature = "relaxed-simd") { "relaxed-simd" } else { "simd" }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test]
    fn a_machine_gets_as_many_threads_as_make_sense() {
        let found = [1, 2, 4, 6, 8, 16, 128].map(unasked);
        assert_eq!(found, [1, 2, 4, 3, 4, 8, 8]);
    }

    #[cfg(not(target_feature = "atomics"))]
    #[wasm_bindgen_test]
    async fn a_binary_without_shared_memory_has_one_thread() {
        assert_eq!(start(Some(4), 8).await.count(), 1);
    }
}
