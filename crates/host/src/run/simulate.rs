//! Simulation on this machine, where no browser could be started: the same package on the native CPU executor.

use std::time::Instant;

use webnibble_common::io::NamedTensors;
use webnibble_common::warmup::WarmingUp;

use super::prepared::PreparedModel;
use super::request::{RunRequest, tell};
use crate::error::HostError;
use crate::reference::{Compared, Reference, ReferenceError, compare};
use crate::task::{blocking, ms_since};

/// What running here gave; its times are the CPU's, and never the platform's.
pub(super) struct Simulated {
    pub(super) outputs: NamedTensors,
    /// Each measured run.
    pub(super) run_ms: Vec<f64>,
    pub(super) weights_bytes: u64,
    /// With the model in f32.
    pub(super) compared: Compared,
}

/// Runs the package here, as often as the page would.
///
/// # Errors
/// When the package cannot be read, or the input does not fit it.
pub(super) async fn simulate(request: &RunRequest, prepared: &PreparedModel) -> Result<Simulated, HostError> {
    let (package, asked) = (prepared.package.clone(), request.clone());
    let (warmup, runs) = (prepared.resolved.warmup.value, prepared.resolved.runs.value);
    let activation_bits = prepared.resolved.settings.activation_bits.value;
    let tensors = std::sync::Arc::clone(&prepared.tensors);
    let (measured, weights_bytes) = blocking(move || {
        let model = package.read(|file| Ok(Reference::for_tensors(file, activation_bits)?))?;
        let in_all = 1 + u64::from(runs);
        let begin = |done| tell(&asked, "running here, without a browser", done, in_all);
        Ok((measure(&model, (&tensors, &asked.outputs), warmup, runs, begin)?, model.weights_bytes()))
    })
    .await?;
    let (outputs, run_ms) = measured;
    let compared = compare(&prepared.model, request.wanted_of(&prepared.tensors), &outputs).await;
    Ok(Simulated { outputs, run_ms, weights_bytes, compared })
}

/// The outputs of the last run, and the times of the measured ones. `begin` hears how many runs are done, before the first
/// and before each measured one.
fn measure(
    model: &Reference,
    (inputs, names): (&NamedTensors, &[String]),
    warmup: Option<u32>,
    runs: u32,
    begin: impl Fn(u64),
) -> Result<(NamedTensors, Vec<f64>), ReferenceError> {
    let timed = || {
        let began = Instant::now();
        model.outputs_of(inputs, names).map(|outputs| (outputs, ms_since(began)))
    };
    begin(0);
    let (mut outputs, _) = timed()?;
    let mut warming_up = WarmingUp::new(warmup, false);
    while warming_up.goes_on() {
        warming_up.add(timed()?.1);
    }
    let mut run_ms = Vec::new();
    for done in 0..runs {
        begin(1 + u64::from(done));
        let (last, ms) = timed()?;
        outputs = last;
        run_ms.push(ms);
    }
    Ok((outputs, run_ms))
}
