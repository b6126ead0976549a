//! A browser that stays open for several runs, by the host's API.

use webnibble_common::options::{GpuProfile, LaunchOptions, Options, Platform, Settings};
use webnibble_common::record::{ErrorInfo, RunRecord, Status};
use webnibble_common::tensor::Tensor;
use webnibble_host::Host;
use webnibble_host::run::{Input, RunRequest, run_on};
use webnibble_tests::{Sandbox, golden_bert};

use crate::golden::golden;

/// A browser and what it was started with.
pub(crate) struct Opened {
    host: Host,
    launch: LaunchOptions,
    _sandbox: Sandbox,
}

/// For tests that are the host themselves: what they make is put here, and not into the user's cache.
pub(crate) fn own_cache() -> Sandbox {
    let sandbox = Sandbox::default();
    webnibble_host::loader::use_cache(sandbox.cache_with_packages());
    sandbox
}

impl Opened {
    /// Starts the browser that these arguments of the command line name.
    pub(crate) async fn start(arguments: &[String]) -> Self {
        let mut launch = LaunchOptions { gpu: Some(GpuProfile::Software), ..LaunchOptions::default() };
        for pair in arguments.chunks(2) {
            let [name, value] = pair else { panic!("arguments come in pairs: {arguments:?}") };
            match name.as_str() {
                "--browser" => launch.browser = Some(value.parse().expect("a browser's name")),
                "--browser-binary" => launch.browser_binary = Some(value.clone()),
                "--driver" => launch.driver = Some(value.clone()),
                other => panic!("{other} is no argument that names a browser"),
            }
        }
        let sandbox = own_cache();
        let host = Host::builder().launch(launch.clone()).start().await.unwrap();
        Self { host, launch, _sandbox: sandbox }
    }

    /// The golden model on its golden input, twice.
    pub(crate) async fn golden(&self, platform: Platform, settings: Settings) -> RunRecord {
        self.run(platform, settings, |_| {}).await
    }

    /// The same, with a request that may be changed.
    pub(crate) async fn run(
        &self,
        platform: Platform,
        settings: Settings,
        change: impl FnOnce(&mut RunRequest),
    ) -> RunRecord {
        let mut options =
            Options { platform: Some(platform), settings, launch: self.launch.clone(), ..Options::default() };
        options.measure.runs = Some(2);
        options.measure.warmup = Some(0);
        let mut request = RunRequest {
            model: golden_bert().display().to_string(),
            options,
            input: Input::Tensors { tensors: golden().0 },
            outputs: Vec::new(),
            generate: false,
            compare_f32: false,
            verbose: false,
            revision: String::new(),
            progress: None,
        };
        change(&mut request);
        run_on(&self.host, request).await
    }

    /// Ends the browser.
    pub(crate) async fn close(self) {
        self.host.shutdown().await;
    }
}

/// What ran, by its name.
#[track_caller]
pub(crate) fn ran_as(record: &RunRecord) -> String {
    assert_eq!((record.status, &record.error), (Status::Ok, &None));
    record.implementation_type.expect("something ran").to_string()
}

/// Why there is no answer.
#[track_caller]
pub(crate) fn failure(record: &RunRecord) -> &ErrorInfo {
    assert_eq!((record.status, &record.output), (Status::Error, &None));
    record.error.as_ref().expect("it failed")
}

/// The value of an option in the record, and its source.
#[track_caller]
pub(crate) fn option(record: &RunRecord, name: &str) -> (serde_json::Value, String) {
    let option = record.options.get(name).unwrap_or_else(|| panic!("no option {name} in the record"));
    let source = serde_json::to_value(option.source).expect("sources are names");
    (option.value.clone(), source.as_str().expect("sources are names").to_owned())
}

/// Tensors that are named, as an input.
pub(crate) fn ids(values: &[u32]) -> Input {
    let tensor = |values: Vec<u32>| Tensor::u32([1, values.len()], values).expect("one row");
    let names = [("input_ids", values.to_vec()), ("attention_mask", vec![1; values.len()])];
    let types = ("token_type_ids", vec![0; values.len()]);
    Input::Tensors { tensors: names.into_iter().chain([types]).map(|(name, v)| (name.to_owned(), tensor(v))).collect() }
}
