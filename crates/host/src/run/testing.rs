//! For tests: a small model, and a page in no browser that loads and runs it, or fails, as it is told.

use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use webnibble_common::capabilities::{Adapter, Capabilities};
use webnibble_common::options::{Engine, Options, Platform};
use webnibble_common::quant::Bits;
use webnibble_common::record::{ImplementationType, RunRecord, TokensKept};
use webnibble_common::warmup::Warmup;
use webnibble_common::wire::{AgentMessage, ErrorCode, HostMessage, LoadOptions, LoadReport, RemoteError, RunReport};

use super::answer::{Answered, Loaded, Measured, PageAnswer, Route};
use super::prepared::{EncodedInput, Opened, PreparedModel, encode, resolve_each, resolve_for};
use super::record::{Answer, Known, record};
use super::request::{Input, RunRequest};
use crate::fake_agent::{self, FakeAgent, PATIENCE};
use crate::host::Host;
use crate::loader::{Model, ModelFolder, PackageFile};
use crate::prepare::Package;
use crate::quantizer::{QuantizeOptions, quantize, write_package};
use crate::reference::Compared;
use crate::session::{Session, SessionConfig};

/// What a page does at one step of one route.
pub(super) type Fault = (Route, Step, ErrorCode);

/// A request to the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Load,
    Run,
}

/// Everything that the page was asked to load.
pub(super) type Loads = Arc<Mutex<Vec<LoadOptions>>>;

/// A page with an adapter, without WebNN, that fails as `faults` say and does the rest.
pub(super) async fn page(faults: &[Fault]) -> (Host, Loads) {
    let loads = Loads::default();
    (page_that(script(faults.to_vec(), Arc::clone(&loads))).await, loads)
}

/// A page with an adapter, without WebNN, that answers as it is told.
pub(crate) async fn page_that(answer: impl FnMut(&HostMessage) -> AgentMessage + Send + 'static) -> Host {
    let server = Arc::new(fake_agent::server().await);
    let session = Session::open(&server, SessionConfig::default());
    let mut agent = FakeAgent::connect(&server, session.token(), None).await;
    let mut capabilities = Capabilities::default();
    (capabilities.webgpu.present, capabilities.webgpu.adapter) = (true, Some(Adapter::default()));
    agent.tell(0, AgentMessage::Capabilities { capabilities: Box::new(capabilities) }).await;
    let capabilities = session.capabilities(PATIENCE).await.expect("it told").expect("the session is open");
    agent.serve(answer);
    Host::without_browser(server, session, capabilities)
}

fn script(faults: Vec<Fault>, loads: Loads) -> impl FnMut(&HostMessage) -> AgentMessage + Send + 'static {
    let mut loaded = None;
    move |asked| {
        let step = match asked {
            HostMessage::Load { options, .. } => {
                loads.lock().unwrap().push(options.clone());
                loaded = Some(options.clone());
                Step::Load
            }
            HostMessage::Run { .. } => Step::Run,
            _ => return AgentMessage::Done,
        };
        let options = loaded.as_ref().expect("what runs was loaded");
        let fault = faults.iter().find(|(route, at, _)| (*route, *at) == (route_of(options), step));
        match (fault, step) {
            (Some((.., code)), _) => {
                AgentMessage::Error { error: RemoteError::new(*code, format!("{code:?}"), "hint") }
            }
            (None, Step::Load) => AgentMessage::Loaded { report: Box::new(load_report(options)) },
            (None, Step::Run) => AgentMessage::Ran { report: Box::new(run_report(kind_of(options))), times: vec![] },
        }
    }
}

fn route_of(options: &LoadOptions) -> Route {
    match (options.simulate, options.engine) {
        (true, _) => Route::Simulation,
        (false, Engine::Native) => Route::Native,
        (false, Engine::TransformersJs) => Route::TransformersJs,
    }
}

fn kind_of(options: &LoadOptions) -> ImplementationType {
    match (options.platform, options.simulate) {
        (Platform::Webnn, true) => ImplementationType::SimulatedWebnn,
        (_, true) => ImplementationType::SimulatedWebgpu,
        (Platform::Webnn, false) => ImplementationType::RealWebnn,
        (Platform::Wasm, false) => ImplementationType::RealWasm,
        (_, false) => ImplementationType::RealWebgpu,
    }
}

pub(crate) fn load_report(options: &LoadOptions) -> LoadReport {
    let kind = kind_of(options);
    LoadReport {
        implementation_type: kind,
        adapter: (kind == ImplementationType::RealWebgpu).then(Adapter::default),
        webnn: None,
        activation_bits: Bits::B32,
        total_ms: 4.0,
        fetch_ms: 2.0,
        upload_ms: 1.0,
        compile_ms: None,
        choosing_ms: None,
        package_bytes: 1,
        weights_bytes: 1,
        wasm_heap_bytes: 1,
    }
}

/// Two measured runs, and no outputs.
pub(super) fn run_report(implementation_type: ImplementationType) -> RunReport {
    RunReport {
        implementation_type,
        outputs: Vec::new(),
        token_counts: vec![4, 9],
        truncated: false,
        tokens_kept: [4, 9].map(|count| TokensKept { kept: count, of: count }).to_vec(),
        prepare_ms: 1.0,
        first_ms: 7.0,
        warmup: Warmup { runs: 2, ms: 3.0, steady: None },
        run_ms: vec![2.0, 2.0],
        generated: None,
        gpu_ms: None,
        kernels: None,
        webnn: None,
        variants: [("linear".to_owned(), "q4".to_owned())].into(),
        adjustments: Vec::new(),
        dispatches: Some(10),
        gpu_peak_bytes: Some(5),
        wasm_heap_bytes: 6,
    }
}

/// The golden BERT in a folder of its own, with an ONNX file of 4 bits that somebody else made, and its package of 4 bits.
pub(super) struct Small {
    folder: TempDir,
}

impl Small {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/goldens/bert");
        for name in ["config.json", "model.safetensors"] {
            std::fs::copy(golden.join(name), folder.path().join(name)).unwrap();
        }
        std::fs::create_dir(folder.path().join("onnx")).unwrap();
        std::fs::write(folder.path().join("onnx/model_q4.onnx"), "somebody else's").unwrap();
        let small = Self { folder };
        let quantized = quantize(&small.open(), &QuantizeOptions::default(), &mut |_| {}).unwrap();
        write_package(&quantized, &small.package_path()).unwrap();
        small
    }

    /// The folder as a model.
    pub(super) fn folder(&self) -> Model {
        Model::Folder(Box::new(self.open()))
    }

    fn open(&self) -> ModelFolder {
        ModelFolder::open(self.folder.path(), "bert").unwrap()
    }

    pub(super) fn package_path(&self) -> std::path::PathBuf {
        self.folder.path().join("package.safetensors")
    }

    /// The package as a model: nothing is made of it, and it has no ONNX file.
    pub(super) fn package(&self) -> Arc<Model> {
        Arc::new(Model::open(&self.package_path(), "bert").unwrap())
    }

    /// The package, opened for a request.
    pub(super) fn opened(&self, request: &RunRequest) -> Opened {
        let model = self.package();
        let (resolved, input) = (resolve_each(request, &model).unwrap(), encode(&model, request).unwrap());
        Opened { model, input, resolved }
    }

    /// The folder, with its package for a platform.
    pub(super) fn prepared(&self, request: &RunRequest) -> PreparedModel {
        let model = Arc::new(self.folder());
        let platform = request.platform();
        let resolved = resolve_for(request, &model, platform).unwrap();
        let package = Package::given(PackageFile::open(&self.package_path()).unwrap());
        let EncodedInput { tensors, .. } = encode(&model, request).unwrap();
        PreparedModel { model, tensors, platform, resolved, package, loaded_as: "bert".into(), took_ms: 1.0 }
    }
}

/// A request of two token ids.
pub(super) fn request(platform: Platform, engine: Engine) -> RunRequest {
    RunRequest {
        model: "bert".into(),
        options: Options { platform: Some(platform), engine: Some(engine), ..Options::default() },
        input: Input::ids(vec![vec![1, 2]]),
        outputs: Vec::new(),
        generate: false,
        compare_f32: false,
        verbose: false,
        revision: String::new(),
        progress: None,
    }
}

/// The record of an answer by reports of the page.
pub(super) fn answered(small: &Small, request: &RunRequest, report: RunReport) -> RunRecord {
    let mut known = Known::begin();
    let prepared = known.prepared(small.prepared(request));
    let options = LoadOptions {
        simulate: report.implementation_type.is_simulation(),
        ..super::load_options(prepared.platform, &prepared.resolved)
    };
    let loaded = Loaded { report: load_report(&options), onnx: None };
    let measured = Measured { report, outputs: Vec::new() };
    let answered = Answered { route: Route::Native, loaded, measured, start: None };
    let (memory, compared) = (Default::default(), Compared::default());
    let answer = PageAnswer { answered, memory, timestamped: None, compared, ratio: None };
    record(request, &known, Ok(Answer::Page(Box::new(answer))))
}

/// From, to and code of each step.
pub(super) fn steps(record: &RunRecord) -> Vec<(&str, &str, &str)> {
    record.fallbacks.iter().map(|step| (step.from.as_str(), step.to.as_str(), step.code.as_str())).collect()
}

/// Nothing that did not run is called anything, and nothing was measured.
#[track_caller]
pub(super) fn assert_unlabelled(record: &RunRecord) {
    assert_eq!((record.implementation_type, record.is_simulation), (None, None));
    assert_eq!((&record.simulated_in, record.using_transformers_js), (&None, None));
    assert!(record.adapter.is_none() && record.webnn.is_none() && record.kernels.is_none(), "{record:?}");
    let metrics = &record.performance_metrics;
    assert!(metrics.initialization_time_ms.is_none() && metrics.first_inference_time_ms.is_none(), "{metrics:?}");
    assert!(metrics.inference_time_ms.is_none() && metrics.memory.weights_bytes.is_none(), "{metrics:?}");
}

/// The code of a record's error.
#[track_caller]
pub(super) fn code(record: &RunRecord) -> String {
    record.error.as_ref().expect("there is no answer").code.clone()
}
