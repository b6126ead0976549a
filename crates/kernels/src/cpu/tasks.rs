//! Independent pieces of an operator, on every core natively and one after the other in wasm.

/// Threads that share the pieces.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn threads() -> usize {
    rayon::current_num_threads()
}

/// Runs `compute` for each index below `count` and gives the results to `take` in that order.
/// Only a few results for each thread are held at once.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn for_each<T: Send>(count: usize, compute: impl Fn(usize) -> T + Sync, mut take: impl FnMut(usize, T)) {
    use rayon::prelude::*;

    if threads() == 1 {
        return (0..count).for_each(|index| take(index, compute(index)));
    }
    // Two for each thread, so that one that is late finds less left to do.
    let wave = 2 * threads();
    for first in (0..count).step_by(wave) {
        let indices = first..count.min(first + wave);
        let results: Vec<T> = indices.clone().into_par_iter().map(&compute).collect();
        indices.zip(results).for_each(|(index, result)| take(index, result));
    }
}

/// Runs `compute` for each index below `count` and gives the results to `take` in that order.
#[cfg(target_arch = "wasm32")]
pub(super) fn for_each<T>(count: usize, compute: impl Fn(usize) -> T, mut take: impl FnMut(usize, T)) {
    (0..count).for_each(|index| take(index, compute(index)));
}
