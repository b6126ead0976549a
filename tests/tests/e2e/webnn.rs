//! WebNN for real, in a browser that has a backend.

use webnibble_common::record::{Output, RunRecord};
use webnibble_tests::{Sandbox, mini_lm, mini_lm_available, skip_unless, webnn_browser};

use crate::golden::{answer, assert_near, error, golden_input, run_golden};

/// Long enough to be divided among parts.
const TEXT: &str = "Rain fell on the roof all night, and in the morning the children saw that the small stream behind the \
    house had become a river.";

/// The golden model on WebNN.
fn run(options: &[&str]) -> (RunRecord, Vec<f32>) {
    let sandbox = Sandbox::default();
    let (input, expected) = golden_input(&sandbox);
    let browser = webnn_browser().expect("looked for before");
    let browser: Vec<&str> = browser.iter().map(String::as_str).collect();
    let args = ["--platform", "webnn", "--runs", "2"];
    let record = run_golden(&sandbox, &input, &[&args[..], &browser, options].concat());
    sandbox.assert_clean();
    (record, expected)
}

#[test]
fn the_browser_that_was_fetched_is_found_where_it_was_fetched_to() {
    skip_unless!(webnn_browser());
    let binary = webnn_browser().expect("looked for before")[1].clone();
    let browsers = std::path::Path::new(&binary).ancestors().nth(2).expect("it lies in a folder of its own");
    let sandbox = Sandbox::default();
    let (none, only_there) = (sandbox.path().join("none"), browsers);
    for (folder, found) in [(only_there, true), (none.as_path(), false)] {
        let mut command = sandbox.command(&["verify", "--platform", "webnn", "--portable-kernels", "--json"]);
        let command = command.env_remove("WEBNIBBLE_WEBNN_BROWSER").env("WEBNIBBLE_BROWSERS", folder);
        let output = command.output().expect("the command runs");
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).expect("rows");
        let row = rows.as_array().unwrap().iter().find(|row| row["name"] == "chrome (chrome-headless-shell)");
        assert_eq!(row.is_some(), found, "{rows:#}");
        let (works, said) = (row.map(|row| &row["works"]), String::from_utf8_lossy(&output.stderr).into_owned());
        assert_eq!(works.is_some_and(|works| works == true), found, "{rows:#}");
        assert_eq!(said.contains("scripts/fetch-webnn-browser.sh"), !found, "{said}");
    }
    sandbox.assert_clean();
}

#[test]
fn the_golden_answer_on_webnn() {
    skip_unless!(webnn_browser());
    // Weights in f32 and f16 leave the answer as it is; 8 bits cost little.
    for (bits, tolerance) in [("32", 1e-3), ("16", 1e-2), ("8", 5e-2)] {
        let (record, expected) = run(&["--bits", bits, "--no-fallback"]);
        assert_eq!(record.implementation_type.unwrap().to_string(), "REAL_WEBNN");
        assert_eq!((record.is_simulation, record.fallbacks.len()), (Some(false), 0), "{record:?}");
        let found = error(&answer(&record), &expected);
        let webnn = record.webnn.expect("WebNN ran");
        println!("golden BERT at {bits} bits on WebNN: error {found:.2e}, lowering {}", webnn.lowering);
        assert!(found <= tolerance, "{bits} bits: {found:.2e}");
        assert!(!webnn.lowering.is_empty() && webnn.operators.values().sum::<usize>() > 10, "{webnn:?}");
        assert!(record.performance_metrics.inference_time_ms.unwrap().p50 > 0.0);
        let loading = record.performance_metrics.initialization_time_ms.unwrap();
        let building = loading.compile.expect("graphs were built") + loading.choosing.unwrap_or(0.0);
        assert!(building > 0.0 && building <= loading.total, "{loading:?}");
        assert!(loading.choosing.is_some() || bits == "32", "several lowerings were timed: {loading:?}");
        assert!(record.performance_metrics.memory.weights_bytes.unwrap() > 100_000);
    }
}

#[test]
fn four_bits_are_an_experiment_and_otherwise_eight() {
    skip_unless!(webnn_browser());
    let (record, expected) = run(&["--bits", "4"]);
    assert_near(&record, &expected, 0.999);
    assert_eq!(record.implementation_type.unwrap().to_string(), "REAL_WEBNN");
    assert_eq!(record.quantization.unwrap().bits.count(), 8);
    assert_eq!(record.fallbacks.len(), 1);
    assert!(record.fallbacks[0].reason.contains("8 and 16 bits"), "{:?}", record.fallbacks);

    let (record, expected) = run(&["--bits", "4", "--experimental-precision", "--no-fallback"]);
    assert_near(&record, &expected, 0.97);
    assert_eq!(record.implementation_type.unwrap().to_string(), "REAL_WEBNN");
    let made = record.quantization.unwrap();
    assert_eq!((made.bits.count(), made.experimental), (4, true));
}

#[test]
fn the_device_is_what_the_context_says() {
    skip_unless!(webnn_browser());
    // The request alone would be an echo: this browser says where the graph lies, and for a GPU something else.
    let reported = |device: &str| {
        let (record, expected) = run(&["--bits", "16", "--execution-provider", device, "--no-fallback"]);
        assert_near(&record, &expected, 0.9999);
        let webnn = record.webnn.expect("WebNN ran");
        assert_eq!(webnn.requested, device);
        webnn.reported_devices.expect("this browser says where graphs lie")
    };
    assert_eq!(reported("cpu"), ["cpu"]);
    let gpu = reported("gpu");
    assert!(gpu.iter().any(|name| name == "gpu"), "{gpu:?}");
}

/// What the real model gives for [`TEXT`] on a platform of the browser with WebNN, of how it was computed, and of which
/// package.
struct Embedded {
    embedding: Vec<f32>,
    digest: String,
    parts: Option<usize>,
}

impl Embedded {
    /// Packages that were made in `sandbox` before are used again.
    fn of(sandbox: &Sandbox, platform: &str, options: &[&str]) -> Self {
        let (browser, model) = (webnn_browser().expect("looked for before"), mini_lm());
        let browser: Vec<&str> = browser.iter().map(String::as_str).collect();
        let args = ["run", "--json", "--gpu", "software", "--no-fallback", "--runs", "1", "--warmup", "0"];
        let more = ["--platform", platform, "--model", model.to_str().unwrap(), "--text", TEXT];
        let finished = sandbox.run(&[&args[..], &more, &browser, options].concat());
        assert_eq!(finished.code, Some(0), "{platform}: {finished:?}");
        let record: RunRecord = serde_json::from_str(&finished.stdout).unwrap();
        assert_eq!(record.implementation_type.unwrap().to_string(), format!("REAL_{}", platform.to_uppercase()));
        let parts = record.webnn.and_then(|webnn| webnn.parallel_parts);
        match record.output {
            Some(Output::Embeddings { embeddings }) => {
                Self { embedding: embeddings[0].clone(), digest: record.model.unwrap().digest, parts }
            }
            other => panic!("expected an embedding, found {other:?}"),
        }
    }

    /// Vectors of length 1: their product is their cosine.
    fn cosine(&self, other: &Self) -> f32 {
        self.embedding.iter().zip(&other.embedding).map(|(a, b)| a * b).sum()
    }
}

#[test]
fn every_platform_gives_the_same_embedding_of_the_same_weights() {
    skip_unless!(webnn_browser(), mini_lm_available());
    let sandbox = Sandbox::default();
    for bits in ["16", "8"] {
        let options = ["--bits", bits, "--no-mixed-precision", "--group-size", "32"];
        let webnn = Embedded::of(&sandbox, "webnn", &options);
        for platform in ["wasm", "webgpu"] {
            let other = Embedded::of(&sandbox, platform, &options);
            assert_eq!(webnn.digest, other.digest, "the same package");
            let found = webnn.cosine(&other);
            println!("{bits} bits: cosine of WebNN's embedding to that of {platform} {found:.7}");
            assert!(found >= 0.9999, "{bits} bits, {platform}: {found}");
        }
    }
}

#[test]
fn int8_activations_and_parts_side_by_side_keep_the_embedding() {
    skip_unless!(webnn_browser(), mini_lm_available());
    let sandbox = Sandbox::default();
    let both = |options: [&str; 2]| {
        ["1", "2"].map(|parts| Embedded::of(&sandbox, "webnn", &[&options[..], &["--threads", parts]].concat()))
    };
    let [exact, halves] = both(["--bits", "16"]);
    // The int8 chain quantizes activations too, and says so.
    let [int8, int8_halves] = both(["--activation-bits", "8"]);
    let found = exact.cosine(&int8);
    println!("cosine of the int8 chain's embedding to that of 16 bits {found:.5}");
    assert!(found >= 0.99, "{found}");
    // Two graphs side by side compute what one does.
    for (one, two) in [(exact, halves), (int8, int8_halves)] {
        assert_eq!((one.parts, two.parts), (Some(1), Some(2)));
        let found = one.cosine(&two);
        assert!(found >= 0.99999, "{found}");
    }
}
