//! Simulation on this machine, where no browser could be started: the same package on the native CPU executor.

use std::time::Instant;

use webnibble_common::options::Platform;
use webnibble_common::result::{ImplementationType, InputInfo, RunRecord, Times, TokensKept};
use webnibble_common::tensor::Tensor;
use webnibble_common::warmup::WarmingUp;
use webnibble_models::input::ModelInputs;
use webnibble_models::output;

use super::compare::compare;
use super::fill::{input_info, memory_reduction};
use super::prepared::PreparedModel;
use super::request::{RunRequest, tell};
use crate::error::HostError;
use crate::reference::{Reference, ReferenceError};
use crate::task::blocking;

/// What the runs gave.
struct Simulated {
    /// Of each text, how many of its tokens ran.
    tokens_kept: Vec<TokensKept>,
    outputs: Vec<(String, Tensor)>,
    run_ms: Vec<f64>,
    weights_bytes: u64,
}

/// Runs the package here; its times are the CPU's, and never the platform's.
pub(super) async fn fill(
    record: &mut RunRecord,
    request: &RunRequest,
    prepared: &PreparedModel,
) -> Result<(), HostError> {
    let (package, asked) = (prepared.package.clone(), request.clone());
    let (warmup, runs) = (prepared.resolved.warmup.value, prepared.resolved.runs.value);
    let activation_bits = prepared.resolved.settings.activation_bits.value;
    let simulated = blocking(move || {
        let model = package.read(|file| Ok(Reference::with_activation_bits(file, activation_bits)?))?;
        let in_all = 1 + u64::from(runs);
        let begin = |done| tell(&asked, "running here, without a browser", done, in_all);
        Ok(simulate(&model, &asked, warmup, runs, begin)?)
    })
    .await?;
    let Simulated { tokens_kept, outputs, run_ms, weights_bytes } = simulated;

    let meta = &prepared.package.header.meta;
    record.implementation_type = Some(match prepared.platform {
        Platform::Webnn => ImplementationType::SimulatedWebnn,
        _ => ImplementationType::SimulatedWebgpu,
    });
    record.is_simulation = Some(true);
    record.simulated_in = Some("host".into());
    record.using_transformers_js = Some(false);
    let prompt_name = record.input.as_ref().and_then(|input| input.prompt_name.clone());
    let info = InputInfo { prompt_name, ..input_info(&request.input, &tokens_kept) };
    let metrics = &mut record.performance_metrics;
    metrics.cpu_time_ms = Times::of(&run_ms);
    metrics.memory.weights_bytes = Some(weights_bytes);
    metrics.memory_reduction_percent = Some(memory_reduction(meta, weights_bytes));
    record.input = Some(info);
    record.output = output::answer(&outputs, &request.outputs, meta.sentence.is_some());
    record.performance_metrics.quantization_error = compare(prepared, request, &outputs).await;
    Ok(())
}

/// Runs as often as the page would. `begin` hears how many runs are done, before the first and before each measured one.
fn simulate(
    model: &Reference,
    asked: &RunRequest,
    warmup: Option<u32>,
    runs: u32,
    begin: impl Fn(u64),
) -> Result<Simulated, ReferenceError> {
    // Tokenizing is outside the time, as it is in the page.
    let ModelInputs { tensors: inputs, tokens_kept } = model.inputs(&asked.input)?;
    let timed = || {
        let began = Instant::now();
        model.outputs_of(&inputs, &asked.outputs).map(|outputs| (outputs, began.elapsed().as_secs_f64() * 1e3))
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
    Ok(Simulated { tokens_kept, outputs, run_ms, weights_bytes: model.weights_bytes() })
}
