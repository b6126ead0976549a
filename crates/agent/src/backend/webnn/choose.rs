//! Which lowering is the fastest here, and in how many parts: measured once for each kind of model, and remembered.

use webnibble_common::graph::Bindings;
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_kernels::webnn::{Candidate, bucket_of};

use super::Model;
use super::executable::Executable;
use super::memory::{self, Fastest, MOST_PARTS};
use crate::backend::Built;
use crate::sys::now_ms;

/// The shape that lowerings are measured at: one usual text.
const USUAL_BATCH: usize = 1;
const USUAL_LENGTH: usize = 128;

const WARMUP: usize = 2;
const RUNS: usize = 5;

/// A lowering that takes less memory may take this much longer.
const SLOWER_FOR_MEMORY: f64 = 1.05;
/// A lowering that loses digits must take at most this part of the time of those that do not.
const FASTER_FOR_DIGITS: f64 = 0.8;
/// Parts, each with all weights, must take at most this part of the time of fewer.
const FASTER_FOR_PARTS: f64 = 0.9;

/// How a choice was made, for the record.
const MEASURED: &str = "measured";
const REMEMBERED: &str = "remembered";

/// Parts are tried while all their constants stay under this.
const PARTS_CONSTANT_BYTES: u64 = 1 << 30;

/// A candidate and what it was measured to take.
#[derive(Clone, Copy, Debug)]
struct Measured {
    candidate: Candidate,
    ms: f64,
    bytes: u64,
}

impl Model {
    /// Leaves one candidate, and the graph of the usual shape built with it. A graph of other symbols than `batch` and
    /// `seq` has no usual shape: its first candidate is taken, and nothing is built yet.
    pub(super) async fn choose(&mut self) -> Result<(), RemoteError> {
        let Some(bindings) = self.usual_shape() else {
            self.candidates.truncate(1);
            return Ok(());
        };
        let key = self.speed_key();
        let known = self.context.fastest.borrow().get(&key).copied();
        let known = match known {
            None if self.is_free() => memory::kept(&self.question(&key), &self.candidates).await,
            known => known,
        };
        if let Some(known) = known
            && self.take(known, &bindings).await?
        {
            self.context.fastest.borrow_mut().insert(key, known);
            self.chosen = Some(REMEMBERED);
            return Ok(());
        }
        if self.candidates.len() > 1 {
            self.candidates = vec![self.measure_all(&bindings).await?];
            self.chosen = Some(MEASURED);
        }
        if self.asked_parts.is_none() {
            self.measure_parts(&bindings).await?;
            self.chosen = Some(MEASURED);
        }
        let fastest = Fastest { lowering: self.lowering()?, parts: self.parts };
        if self.is_free() {
            memory::keep(&self.question(&key), fastest).await;
        }
        self.context.fastest.borrow_mut().insert(key, fastest);
        self.prepare(&bindings).await?;
        Ok(())
    }

    /// Whether the caller leaves everything to measuring: what was forced is no answer for others.
    fn is_free(&self) -> bool {
        self.asked.settings.lowering.is_none() && self.asked_parts.is_none()
    }

    /// Builds what was the fastest before. Where that fails now, it is as if nothing were known.
    async fn take(&mut self, known: Fastest, bindings: &Bindings) -> Result<bool, RemoteError> {
        let all = (self.candidates.clone(), self.parts);
        self.candidates.retain(|candidate| candidate.lowering == known.lowering);
        self.parts = known.parts;
        match self.prepare(bindings).await {
            Ok(_) => Ok(true),
            Err(failed) if failed.code == ErrorCode::DeviceLost => Err(failed),
            Err(_) => {
                (self.candidates, self.parts) = all;
                Ok(false)
            }
        }
    }

    /// What an answer that outlives the page depends on: the kind of model, the device, the browser and the machine.
    fn question(&self, speed_key: &str) -> String {
        let (device, browser) = (self.context.requested_name(), crate::sys::user_agent());
        let cores = crate::sys::hardware_concurrency();
        format!("{device} {browser} {cores:?} {speed_key}")
    }

    /// Finds out whether the browser computes several graphs at once, and whether that pays.
    async fn measure_parts(&mut self, bindings: &Bindings) -> Result<(), RemoteError> {
        let cores = crate::sys::hardware_concurrency().unwrap_or(1) as usize;
        let lowering = self.lowering()?;
        self.prepare(bindings).await?;
        for parts in [2, MOST_PARTS].into_iter().filter(|parts| *parts <= cores) {
            let Some(best) = self.built.last() else { break };
            if best.constant_bytes / best.parts as u64 * parts as u64 > PARTS_CONSTANT_BYTES {
                break;
            }
            let executable = match self.build(lowering, parts, best.bucket.clone()).await {
                Ok(executable) => executable,
                Err(failed) if failed.code == ErrorCode::DeviceLost => return Err(failed),
                // What takes a graph in one piece need not take it in parts.
                Err(_) => break,
            };
            if executable.parts <= best.parts || !self.is_faster(&executable, best).await? {
                break;
            }
            self.parts = parts;
            self.built.pop();
            self.keep(executable);
        }
        Ok(())
    }

    /// Builds each candidate and times it against the best so far: more than two at once may not fit the memory.
    async fn measure_all(&mut self, bindings: &Bindings) -> Result<Candidate, RemoteError> {
        let bucket = bucket_of(&self.graph, bindings);
        let mut best: Option<(Candidate, Executable)> = None;
        let mut failure = None;
        for candidate in self.candidates.clone() {
            let executable = match self.build(candidate.lowering, self.parts, bucket.clone()).await {
                Ok(executable) => executable,
                Err(failed) => {
                    failure.get_or_insert(failed);
                    continue;
                }
            };
            let Some((of_best, best_executable)) = &best else {
                best = Some((candidate, executable));
                continue;
            };
            let [new_ms, best_ms] = self.time([&executable, best_executable]).await?;
            let new = Measured { candidate, ms: new_ms, bytes: executable.constant_bytes };
            if better(&new, &Measured { candidate: *of_best, ms: best_ms, bytes: best_executable.constant_bytes }) {
                best = Some((candidate, executable));
            }
        }
        match (best, failure) {
            (Some((candidate, executable)), _) => {
                self.keep(executable);
                Ok(candidate)
            }
            (None, Some(failed)) => Err(failed),
            (None, None) => Err(crate::error::internal("a model has no lowering")),
        }
    }

    /// Whether parts pay. Asked twice before the answer is no: while the browser tidies up after a model before, it has
    /// fewer cores for them.
    async fn is_faster(&self, parts: &Executable, fewer: &Executable) -> Result<bool, RemoteError> {
        for _ in 0..2 {
            let [parts_ms, fewer_ms] = self.time([parts, fewer]).await?;
            if parts_ms <= fewer_ms * FASTER_FOR_PARTS {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// [`time`], whose own time is part of loading.
    async fn time(&self, executables: [&Executable; 2]) -> Result<[f64; 2], RemoteError> {
        let start = now_ms();
        let least = time(executables).await?;
        let took = self.took.get();
        self.took.set(Built { choosing_ms: Some(took.choosing_ms.unwrap_or(0.0) + now_ms() - start), ..took });
        Ok(least)
    }

    fn usual_shape(&self) -> Option<Bindings> {
        let mut symbols = Vec::new();
        self.graph.values.iter().flat_map(|value| &value.shape).for_each(|dim| dim.symbols(&mut symbols));
        let usual = symbols.iter().all(|name| ["batch", "seq"].contains(name));
        let bindings = Bindings::new([("batch", USUAL_BATCH), ("seq", USUAL_LENGTH)]);
        // A model may be too short for it: then its longest length is the usual one.
        usual.then(|| self.shortened(bindings))
    }

    fn shortened(&self, bindings: Bindings) -> Bindings {
        let limit = webnibble_kernels::webnn::longest(&self.graph, "seq").unwrap_or(USUAL_LENGTH);
        if limit >= USUAL_LENGTH { bindings } else { Bindings::new([("batch", USUAL_BATCH), ("seq", limit)]) }
    }

    /// What the answer depends on: what there is to choose from, shapes and formats.
    pub(super) fn speed_key(&self) -> String {
        let lowerings: Vec<_> = self.candidates.iter().map(|candidate| candidate.lowering.name()).collect();
        let weights = self.graph.weights.iter();
        let format = |name: &String| self.formats.get(name).map(ToString::to_string).unwrap_or_default();
        let weights: String = weights.map(|weight| format!("{:?} {};", weight.shape, format(&weight.name))).collect();
        format!("{} {:?} {weights}", lowerings.join(","), self.asked_parts)
    }
}

/// Least time of a few runs of each, in turns, in ms: what other load adds is not the lowering's.
async fn time(executables: [&Executable; 2]) -> Result<[f64; 2], RemoteError> {
    let mut least = [f64::INFINITY; 2];
    for run in 0..WARMUP + RUNS {
        for (least, executable) in least.iter_mut().zip(executables) {
            let start = now_ms();
            executable.run_zeros().await?;
            if run >= WARMUP {
                *least = least.min(now_ms() - start);
            }
        }
    }
    Ok(least)
}

/// Whether `new` is to be taken instead of `old`.
fn better(new: &Measured, old: &Measured) -> bool {
    match (new.candidate.exact, old.candidate.exact) {
        (false, true) => new.ms < old.ms * FASTER_FOR_DIGITS,
        (true, false) => new.ms * FASTER_FOR_DIGITS <= old.ms,
        _ if new.bytes < old.bytes => new.ms <= old.ms * SLOWER_FOR_MEMORY,
        _ => new.ms * SLOWER_FOR_MEMORY < old.ms,
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;
    use webnibble_kernels::webnn::Lowering;

    use super::*;

    fn measured(lowering: Lowering, exact: bool, ms: f64, bytes: u64) -> Measured {
        Measured { candidate: Candidate { lowering, exact }, ms, bytes }
    }

    #[wasm_bindgen_test]
    fn memory_and_digits_count_beside_time() {
        let floats = measured(Lowering::Float32, true, 10.0, 400);
        let half = |ms| measured(Lowering::Float16, true, ms, 200);
        assert!(better(&half(10.4), &floats) && !better(&half(10.6), &floats));
        assert!(better(&floats, &half(10.6)) && !better(&floats, &half(10.4)));
        let lossy = |ms| measured(Lowering::HalfCompute, false, ms, 200);
        assert!(!better(&lossy(8.1), &floats) && better(&lossy(7.9), &floats));
        assert!(better(&floats, &lossy(8.1)) && !better(&floats, &lossy(7.9)));
    }
}
