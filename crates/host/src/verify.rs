//! Does the real path work here: a small model made from a seed, on every platform of every browser, against this
//! machine's CPU executor with the same weights. Needs no model and no network.

use std::io::BufWriter;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use webnibble_common::graph::{Role, Weight};
use webnibble_common::io::Input;
use webnibble_common::options::{BrowserKind, LaunchOptions, Options, Platform, Settings};
use webnibble_common::package::{self, PackageMeta, QuantizationMeta, TensorMeta};
use webnibble_common::quant::{Bits, Granularity, Quantizer, Scheme};
use webnibble_common::record::{BrowserInfo, ErrorInfo, ImplementationType, Times};
use webnibble_common::tensor::Tensor;
use webnibble_common::weights::{WeightData, WeightMap};
use webnibble_common::wire::RunOptions;
use webnibble_models::ModelConfig;

use crate::browsers::name_of;
use crate::error::HostError;
use crate::host::Host;
use crate::loader::PackageFile;
use crate::reference::{Reference, quantization_error};
use crate::run::{load_options, missing, resolve};
use crate::task::blocking;

/// Least cosine to the CPU executor's answer on the same weights that counts as the same answer.
pub const LEAST_COSINE: f64 = 0.999;

const LOAD_LIMIT: Duration = Duration::from_secs(60);
const RUN_LIMIT: Duration = Duration::from_secs(60);

/// What to verify.
#[derive(Clone, Debug)]
pub struct VerifyRequest {
    /// Which browsers, each as it is started.
    pub browsers: Vec<LaunchOptions>,
    /// Which platforms.
    pub platforms: Vec<Platform>,
    /// Bits of the linear weights, and how they are computed with.
    pub settings: Settings,
    /// Passes the browser's output and its console on to the log.
    pub verbose: bool,
}

/// One platform in one browser.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    /// Which browser.
    pub browser: BrowserKind,
    /// As tables name it: its kind, with the file where one was named.
    pub name: String,
    /// As it was started; `None` where it did not start.
    pub info: Option<BrowserInfo>,
    /// Which platform.
    pub platform: Platform,
    /// Whether it ran for real and gave the right answer.
    pub works: bool,
    /// What ran, as the page's backend says.
    pub implementation_type: Option<ImplementationType>,
    /// Whether a GPU ran it; `None` where it was no GPU's business.
    pub hardware: Option<bool>,
    /// Bits that ran: WebNN takes no fewer than 8.
    pub bits: Bits,
    /// Time of an inference.
    pub times_ms: Option<Times>,
    /// Mean cosine to the answer of this machine's CPU executor on the same weights.
    pub cosine: Option<f64>,
    /// Why it does not work.
    pub error: Option<ErrorInfo>,
}

/// Verifies one platform after another in one browser after another. `on_row` hears of each as it is done.
///
/// # Errors
/// When the model cannot be made. What fails in a browser is a row with its reason.
pub async fn verify(
    request: &VerifyRequest,
    mut on_row: impl FnMut(&Verification),
) -> Result<Vec<Verification>, HostError> {
    let folder = tempfile::tempdir().map_err(HostError::io("cannot make a folder for the model"))?;
    let mut rows = Vec::new();
    for launch in &request.browsers {
        let host = Host::builder().launch(launch.clone()).verbose(request.verbose).start().await;
        for platform in &request.platforms {
            let mut row = Verification::new(launch, *platform, request.settings.bits.unwrap_or(Bits::B4));
            let outcome = match &host {
                Ok(host) => fill(&mut row, host, launch, &request.settings, folder.path()).await,
                Err(error) => Err(error.info()),
            };
            row.error = outcome.err();
            on_row(&row);
            rows.push(row);
        }
        if let Ok(host) = host {
            host.shutdown().await;
        }
    }
    Ok(rows)
}

impl Verification {
    fn new(launch: &LaunchOptions, platform: Platform, bits: Bits) -> Self {
        Self {
            browser: launch.browser.unwrap_or(BrowserKind::Chrome),
            name: name_of(launch),
            info: None,
            platform,
            works: false,
            implementation_type: None,
            hardware: None,
            bits,
            times_ms: None,
            cosine: None,
            error: None,
        }
    }
}

/// One platform in a browser that runs.
async fn fill(
    row: &mut Verification,
    host: &Host,
    launch: &LaunchOptions,
    settings: &Settings,
    folder: &Path,
) -> Result<(), ErrorInfo> {
    row.info = Some(host.info().clone());
    if let Some(error) = missing(host.capabilities(), row.platform, settings.execution_provider) {
        return Err(error.info());
    }
    let options = Options { settings: settings.clone(), launch: launch.clone(), ..Options::default() };
    let resolved = resolve(&options, row.platform, "bert").map_err(|error| error.info())?;
    row.bits = resolved.settings.bits.value;
    let path = folder.join(format!("{}bit.safetensors", row.bits));
    let (package, expected) = prepared(path, row.bits).await.map_err(|error| error.info())?;

    let (name, digest) = ("verify", package.header.digest.clone());
    let ran = async {
        let loaded = host.load(name, &package.path, &digest, load_options(row.platform, &resolved), LOAD_LIMIT).await?;
        let options = RunOptions { runs: 5, ..RunOptions::default() };
        let ran = host.run(name, Input::ids(ids()), options, RUN_LIMIT).await;
        host.unload(name, LOAD_LIMIT).await?;
        Ok::<_, HostError>((loaded, ran?))
    };
    let (loaded, (report, outputs)) = ran.await.map_err(|error| error.info())?;
    row.implementation_type = Some(report.implementation_type);
    row.hardware = loaded.adapter.map(|adapter| adapter.hardware);
    row.times_ms = Times::of(&report.run_ms);
    row.cosine = quantization_error(&outputs, &expected).map(|error| error.cosine);
    match row.cosine {
        Some(cosine) if cosine >= LEAST_COSINE => {
            row.works = !report.implementation_type.is_simulation();
            Ok(())
        }
        found => Err(ErrorInfo {
            code: "wrong_answer".into(),
            message: format!(
                "the answer should have a cosine of at least {LEAST_COSINE} to the CPU executor's on the same weights, \
                 found {}",
                found.map_or("another shape".into(), |cosine| format!("{cosine:.5}"))
            ),
            hint: "try --portable-kernels, and please report it with `webnibble doctor --json`".into(),
        }),
    }
}

/// The model's package at `path`, made when it is asked for first, and its answer here.
async fn prepared(path: std::path::PathBuf, bits: Bits) -> Result<(PackageFile, Vec<(String, Tensor)>), HostError> {
    blocking(move || {
        if !path.is_file() {
            write_model(&path, bits).map_err(HostError::io("cannot write the model"))?;
        }
        let package = PackageFile::open(&path)?;
        let expected = Reference::quantized(&package)?.outputs(&Input::ids(ids()))?;
        Ok((package, expected))
    })
    .await
}

/// Two texts of different lengths.
fn ids() -> Vec<Vec<u32>> {
    let row = |length: u32| (0..length).map(|position| (position * 37 + length) % VOCABULARY).collect();
    vec![row(23), row(9)]
}

const VOCABULARY: u32 = 512;

/// A BERT of two layers with weights from a seed, in the format that `bits` name.
fn write_model(path: &Path, bits: Bits) -> std::io::Result<()> {
    let config = json!({"model_type": "bert", "vocab_size": VOCABULARY, "hidden_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "intermediate_size": 256, "max_position_embeddings": 64, "type_vocab_size": 2});
    let model = ModelConfig::from_json(&config).expect("the config is written here");
    let granularity = Granularity::Group(32);
    let quantizer = Quantizer::new(bits).group_size(32);
    let half = Quantizer::new(if bits == Bits::B32 { Bits::B32 } else { Bits::B16 });
    let (mut weights, mut tensors, mut seed) = (WeightMap::new(), std::collections::BTreeMap::new(), 1);
    let graph = model.graph(None);
    for weight in &graph.weights {
        let values = values(weight, &mut seed);
        let data = match (weight.shape.len(), weight.role) {
            (1, _) => WeightData::Vector(values),
            (_, Role::Embedding) => WeightData::Matrix(half.quantize(&values, &weight.shape).map_err(other)?),
            _ => WeightData::Matrix(quantizer.quantize(&values, &weight.shape).map_err(other)?),
        };
        let format = match &data {
            WeightData::Matrix(matrix) => matrix.layout.format,
            WeightData::Vector(_) => webnibble_common::quant::Format::F32,
        };
        weights.insert(weight.name.clone(), data);
        tensors.insert(weight.name.clone(), TensorMeta { shape: weight.shape.clone(), role: weight.role, format });
    }
    let meta = PackageMeta {
        format_version: package::FORMAT_VERSION,
        name: "verify".into(),
        family: "bert".into(),
        parameters: graph.parameters(),
        config,
        sentence: None,
        generation_config: None,
        preprocessor_config: None,
        model_max_length: None,
        tensors,
        quantization: QuantizationMeta {
            bits: bits.into(),
            scheme: Scheme::Symmetric,
            granularity,
            mixed_precision: false,
            attention_bits: bits.into(),
            embedding_bits: if bits == Bits::B32 { 32 } else { 16 },
        },
        activations: None,
    };
    let mut sink = BufWriter::new(std::fs::File::create(path)?);
    package::write(&meta, &weights, &[], &mut sink).map_err(other)?;
    Ok(())
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> std::io::Error {
    std::io::Error::other(error)
}

/// Values as they are in a model: norms near one, all others small and around zero, by SplitMix64 (Steele et al., 2014).
fn values(weight: &Weight, seed: &mut u64) -> Vec<f32> {
    let is_norm = weight.shape.len() == 1 && weight.name.ends_with("LayerNorm.weight");
    let (middle, spread) = if is_norm { (1.0, 0.1) } else { (0.0, 0.12) };
    let count: usize = weight.shape.iter().product();
    let mut next = || {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| middle + spread * next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_model_is_the_same_each_time_and_its_answer_is_no_accident() {
        let folder = tempfile::tempdir().unwrap();
        let (first, answer) = prepared(folder.path().join("a"), Bits::B8).await.unwrap();
        let (second, again) = prepared(folder.path().join("b"), Bits::B8).await.unwrap();
        assert_eq!((first.header.digest, &answer), (second.header.digest, &again));
        let (_, coarse) = prepared(folder.path().join("c"), Bits::B2).await.unwrap();
        let error = quantization_error(&coarse, &answer).unwrap();
        assert!(error.cosine < LEAST_COSINE, "another model gives another answer: {error:?}");
    }
}
