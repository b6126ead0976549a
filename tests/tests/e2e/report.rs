//! The page of a report, in Chromium.

use serde_json::json;
use webnibble_common::record::RunRecord;
use webnibble_host::assets::Assets;
use webnibble_host::report::html;
use webnibble_tests::{Sandbox, browser_available, repository, skip_unless};

use crate::page::Page;

/// A record of the model `name` that ran on one batch of 32 tokens; `change` makes another of it.
fn record(name: &str, batch: usize, change: impl FnOnce(&mut serde_json::Value)) -> RunRecord {
    let golden = include_str!("../../../crates/common/src/record/record.golden.json");
    let mut record: serde_json::Value = serde_json::from_str(golden).unwrap();
    record["model"]["name"] = name.into();
    (record["status"], record["error"], record["fallbacks"]) = ("ok".into(), json!(null), json!([]));
    (record["input"]["batch"], record["input"]["sequence_length"]) = (batch.into(), 32.into());
    record["performance_metrics"]["engine_ratio"] = json!(null);
    // Close to the median: times that spread have a note of their own.
    record["performance_metrics"]["inference_time_ms"]["p90"] =
        record["performance_metrics"]["inference_time_ms"]["p50"].clone();
    record["quantization"]["activation_bits"] = 32.into();
    change(&mut record);
    serde_json::from_value(record).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_speaks_of_what_it_shows() {
    skip_unless!(browser_available());
    let library = Assets::under(&repository()).unwrap().chart_library();
    skip_unless!(library.as_ref().ok_or("no chart.js in www/node_modules (make setup)"));
    let simulated = |record: &mut serde_json::Value| {
        record["implementation_type"] = "SIMULATED_WEBNN".into();
        record["platform"] = "webnn".into();
        record["fallbacks"] =
            json!([{ "from": "webnn by native", "to": "simulated webnn", "code": "c", "reason": "no device" }]);
    };
    let records =
        [record("one", 1, |_| {}), record("one", 8, |_| {}), record("two", 1, simulated), record("two", 8, |_| {})];
    let sandbox = Sandbox::default();
    let path = sandbox.path().join("report.html");
    std::fs::write(&path, html("Test", &records, &library.unwrap_or_default())).unwrap();
    let page = Page::open(&format!("file://{}", path.display())).await;

    // Sizes differ in the batch alone: its chart says of what bits all the same.
    let caption = page.text("#batches-about").await;
    assert!(caption.contains("32 tokens each, ") && !caption.contains(", :"), "{caption}");
    let words = page.text("main").await;
    for of_others in ["imulations", "8/8", "no device"] {
        assert!(!words.contains(of_others), "{of_others}: {words}");
    }
    assert_eq!(page.texts("#notes li").await, [""; 0], "notes of rows that are shown");
    page.choose("#model", "two").await;
    assert_eq!(page.texts("#notes li").await, ["webnn by native → simulated webnn: no device"]);
    let words = page.text("main").await;
    assert!(words.contains("Simulations are left out") && words.contains("Times of simulations"), "{words}");

    // The last table is wider than the window, and says on which side there is more.
    page.wait("there is more to the right", ".frame[data-right]:not([data-left]) #table").await;
    page.driver().execute("document.querySelector('.scroll.tall').scrollLeft = 1e6", Vec::new()).await.unwrap();
    page.wait("there is more to the left alone", ".frame[data-left]:not([data-right]) #table").await;
    page.close().await;
}
