//! Who takes part: ours at every precision that was asked for, and onnxruntime-web in every form that it may be fastest in.

use std::sync::Arc;

use webnibble_common::options::{Engine, Options, Platform, Settings};
use webnibble_common::quant::{Bits, Granularity, Scheme};
use webnibble_common::record::Times;
use webnibble_common::wire::{LoadOptions, LoadReport};

use super::answers::{cosine, first_values};
use super::request::VersusRequest;
use super::results::VersusRow;
use crate::error::HostError;
use crate::loader::Model;
use crate::onnx::{self, OnnxFolder, OnnxOptions, WeightForm};
use crate::prepare::Package;
use crate::run::{Measured, family, load_options, resolve};
use crate::session::RunOutcome;
use crate::task::blocking;

/// One who takes part, and what it gave so far.
pub(super) struct Contestant {
    pub(super) row: VersusRow,
    pub(super) load: LoadOptions,
    /// The package that its weights are of.
    pub(super) package: Package,
    /// The ONNX form, until it is loaded.
    pub(super) folder: Option<OnnxFolder>,
    /// What it gave so far.
    pub(super) measured: Option<Measured>,
    /// The answer, once all is measured.
    pub(super) answer: Option<Vec<f32>>,
}

impl Contestant {
    /// Names it in the page and in tables.
    pub(super) fn label(&self) -> String {
        format!("{} {}", self.row.engine, self.row.form)
    }

    pub(super) fn is_ours(&self) -> bool {
        self.row.engine == OURS
    }

    pub(super) fn loaded(&mut self, loaded: Result<LoadReport, HostError>) {
        match loaded {
            Ok(report) => {
                self.row.load_ms = Some(report.total_ms);
                self.row.implementation_type = Some(report.implementation_type.to_string());
            }
            Err(error) => self.row.error = Some(error.to_string()),
        }
    }

    /// Takes up what a request to run gave: the first run alone, or some more that are measured.
    pub(super) fn ran(&mut self, ran: Result<RunOutcome, HostError>) {
        match (ran, &mut self.measured) {
            (Ok(ran), Some(measured)) => measured.add(ran),
            (Ok(ran), None) => self.measured = Some(Measured::from(ran)),
            (Err(error), _) => self.row.error = Some(error.to_string()),
        }
    }

    pub(super) fn finish(&mut self, expected: Option<&[f32]>) {
        let Some(Measured { report, outputs }) = self.measured.take() else { return };
        self.answer = first_values(&outputs);
        self.row.first_ms = Some(report.first_ms);
        self.row.details = report.variants;
        self.row.times_ms = Times::of(&report.run_ms);
        self.row.run_ms = report.run_ms;
        self.row.cosine_f32 = cosine(self.answer.as_deref(), expected);
    }
}

const OURS: &str = "webnibble";
const THEIRS: &str = "onnxruntime-web";

/// A form of the rival: its name, and what it takes of the package.
struct Rival {
    form: &'static str,
    bits: Bits,
    /// Weights with one scale a row, whatever was asked for.
    per_row: bool,
    onnx: OnnxOptions,
}

/// The forms in which onnxruntime-web may be fastest on a platform.
fn rivals(platform: Platform) -> Vec<Rival> {
    let rival = |form, bits, onnx| Rival { form, bits, per_row: false, onnx };
    let plain = OnnxOptions::default();
    let nbits = |level| OnnxOptions { accuracy_level: level, ..plain };
    let qdq = OnnxOptions { form: WeightForm::DequantizeLinear, ..plain };
    let half = OnnxOptions { half: true, ..plain };
    let integer = OnnxOptions { form: WeightForm::MatMulInteger, ..plain };
    let dynamic = Rival { form: "q8 MatMulInteger", bits: Bits::B8, per_row: true, onnx: integer };
    let mut found = vec![rival("f32", Bits::B32, plain), rival("f16", Bits::B16, half)];
    if platform == Platform::Webnn {
        found.push(rival("q8 DequantizeLinear", Bits::B8, qdq));
        found.push(dynamic);
        found.push(rival("q4 DequantizeLinear", Bits::B4, qdq));
        return found;
    }
    found.push(rival("q8 MatMulNBits", Bits::B8, nbits(0)));
    found.push(rival("q8 MatMulNBits level 4", Bits::B8, nbits(4)));
    if platform == Platform::Wasm {
        found.push(dynamic);
        found.push(rival("q8 DequantizeLinear", Bits::B8, qdq));
    }
    found.push(rival("q4 MatMulNBits", Bits::B4, nbits(0)));
    found.push(rival("q4 MatMulNBits level 4", Bits::B4, nbits(4)));
    found
}

/// Everyone on a platform, ours first.
pub(super) async fn contestants(
    request: &VersusRequest,
    model: &Arc<Model>,
    platform: Platform,
) -> Result<Vec<Contestant>, HostError> {
    let mut found = Vec::new();
    for bits in &request.bits {
        found.push(ours(request, model, platform, *bits, false).await?);
    }
    if request.int8_activations && matches!(platform, Platform::Webnn | Platform::Wasm) {
        found.push(ours(request, model, platform, Bits::B8, true).await?);
    }
    for rival in rivals(platform) {
        found.push(theirs(request, model, platform, &rival).await?);
    }
    Ok(found)
}

/// The options that were asked for, at these bits, alike for both sides.
fn settings(request: &VersusRequest, bits: Bits) -> Settings {
    Settings {
        bits: Some(bits),
        mixed_precision: Some(request.options.settings.mixed_precision.unwrap_or(false)),
        // The reference is f32 throughout.
        embedding_bits: request.options.settings.embedding_bits.or((bits == Bits::B32).then_some(Bits::B32)),
        scheme: Some(request.options.settings.scheme.unwrap_or(Scheme::Symmetric)),
        experimental_precision: Some(true),
        activation_bits: None,
        ..request.options.settings.clone()
    }
}

async fn package(
    model: &Arc<Model>,
    options: Options,
    platform: Platform,
) -> Result<(Package, LoadOptions), HostError> {
    let resolved = resolve(&options, platform, family(model))?;
    let load = load_options(platform, &resolved);
    let (model, settings) = (Arc::clone(model), resolved.settings);
    let package = blocking(move || crate::prepare::package(&model, &settings, platform, &mut |_| {})).await?;
    Ok((package, load))
}

fn row(engine: &str, form: String, bits: Bits) -> VersusRow {
    VersusRow {
        engine: engine.into(),
        form,
        bits,
        implementation_type: None,
        details: Default::default(),
        error: None,
        load_ms: None,
        first_ms: None,
        times_ms: None,
        run_ms: Vec::new(),
        cosine_f32: None,
    }
}

async fn ours(
    request: &VersusRequest,
    model: &Arc<Model>,
    platform: Platform,
    bits: Bits,
    int8_activations: bool,
) -> Result<Contestant, HostError> {
    let mut settings = settings(request, bits);
    let mut form = if bits.is_integer() { format!("q{bits}") } else { format!("f{bits}") };
    if int8_activations {
        form.push_str(" int8 activations");
        settings.activation_bits = Some(Bits::B8);
        settings.granularity = None;
    }
    let (package, load) = package(model, Options { settings, ..request.options.clone() }, platform).await?;
    Ok(Contestant { row: row(OURS, form, bits), load, package, folder: None, measured: None, answer: None })
}

async fn theirs(
    request: &VersusRequest,
    model: &Arc<Model>,
    platform: Platform,
    rival: &Rival,
) -> Result<Contestant, HostError> {
    let mut settings = settings(request, rival.bits);
    if rival.per_row {
        settings.granularity = Some(Granularity::Channel);
    }
    let (package, load) = package(model, Options { settings, ..request.options.clone() }, platform).await?;
    let load = LoadOptions { engine: Engine::TransformersJs, ..load };
    let (source, onnx) = (package.clone(), rival.onnx);
    let folder = blocking(move || Ok(source.read(|file| onnx::exported(file, onnx))?.for_runtime())).await?;
    let row = row(THEIRS, rival.form.to_owned(), rival.bits);
    Ok(Contestant { row, load, package, folder: Some(folder), measured: None, answer: None })
}
