//! The record before anything ran, and of what never ran.

use webnibble_common::options::{BrowserKind, Engine, Platform};
use webnibble_common::profiles::{self, Source};
use webnibble_common::result::{OptionValue, PerformanceMetrics, RunInfo, RunRecord, SCHEMA_VERSION, Status};

use super::fill::{clear_run, input_info};
use super::request::RunRequest;
use crate::error::HostError;
use crate::machine;

/// The record of a run for which no browser could be started.
pub fn not_started(request: &RunRequest, error: &HostError) -> RunRecord {
    let mut record = blank_record(request);
    record.performance_metrics.quantization_bits = request.options.settings.bits;
    record.status = Status::Error;
    record.error = Some(error.info());
    record.options = profiles::asked(&request.options);
    let browser = request.options.launch.browser.unwrap_or(BrowserKind::Chrome);
    record.options.insert("browser".into(), OptionValue { value: browser.name().into(), source: Source::Explicit });
    record
}

/// The record before anything is known.
pub(super) fn blank_record(request: &RunRequest) -> RunRecord {
    RunRecord {
        schema_version: SCHEMA_VERSION,
        status: Status::Ok,
        error: None,
        run: RunInfo {
            timestamp: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            host: machine::info(),
            revision: machine::revision(&request.revision),
        },
        model: None,
        input: Some(input_info(&request.input, &[])),
        platform: request.options.platform.unwrap_or(Platform::Webgpu),
        engine: request.options.engine.unwrap_or(Engine::Native),
        implementation_type: None,
        is_simulation: None,
        simulated_in: None,
        using_transformers_js: None,
        fallbacks: Vec::new(),
        choice: None,
        options: Default::default(),
        browser: None,
        adapter: None,
        webnn: None,
        kernels: None,
        quantization: None,
        performance_metrics: PerformanceMetrics::default(),
        profile: None,
        output: None,
    }
}

/// The record of a run that is over: what it said of a run that failed is taken back.
pub(super) fn finish(mut record: RunRecord, outcome: Result<(), HostError>) -> RunRecord {
    if let Err(error) = outcome {
        clear_run(&mut record);
        record.status = Status::Error;
        record.error = Some(error.info());
    }
    record
}
