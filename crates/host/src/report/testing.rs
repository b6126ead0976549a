//! Records for tests.

use webnibble_common::record::{ErrorInfo, PerformanceMetrics, RunRecord, Status};

/// The record of a run that took `p50_ms`.
pub(crate) fn ran(browser: &str, bits: u8, p50_ms: f64) -> RunRecord {
    let golden = include_str!("../../../common/src/record/record.golden.json");
    let mut record: RunRecord = serde_json::from_str(golden).expect("the golden record is one");
    let (value, times) = (bits.try_into().expect("a bit width"), record.performance_metrics.inference_time_ms.as_mut());
    let times = times.expect("the golden record has times");
    (times.min, times.p50, times.p90, times.runs) = (p50_ms * 0.98, p50_ms, p50_ms * 1.05, 20);
    record.performance_metrics.quantization_bits = Some(value);
    (record.performance_metrics.cpu_time_ms, record.performance_metrics.engine_ratio) = (None, None);
    if let Some(found) = &mut record.browser {
        found.name = browser.to_owned();
    }
    (record.error, record.status, record.output) = (None, Status::Ok, None);
    record.fallbacks.clear();
    record
}

/// The record of a run that failed.
pub(crate) fn failed(browser: &str, bits: u8) -> RunRecord {
    let mut record = ran(browser, bits, 1.0);
    record.status = Status::Error;
    record.error =
        Some(ErrorInfo { code: "browser_not_found".into(), message: "it was not found".into(), hint: String::new() });
    record.performance_metrics = PerformanceMetrics {
        quantization_bits: record.performance_metrics.quantization_bits,
        ..PerformanceMetrics::default()
    };
    (record.implementation_type, record.adapter) = (None, None);
    record
}
