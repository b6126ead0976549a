//! The real model in the browser against the reference executor on the same weights, at every bit width.

use std::time::Duration;

use webnibble_common::io::{Input, NamedTensors};
use webnibble_common::options::{GpuProfile, LaunchOptions, Options, Platform, Settings};
use webnibble_common::quant::Bits;
use webnibble_common::wire::RunOptions;
use webnibble_host::loader::{Model, PackageFile};
use webnibble_host::reference::{Reference, quantization_error};
use webnibble_host::run::{load_options, resolve};
use webnibble_host::{Host, prepare};
use webnibble_tests::{browser_available, mini_lm, mini_lm_available, skip_unless};

use crate::opened::own_cache;

/// All bits of one model take minutes on a software adapter.
const LIMIT: Duration = Duration::from_secs(230);

/// Activations stay in float, so browser and reference differ by rounding only.
const LEAST_COSINE: f64 = 0.9999;

const TEXTS: [&str; 3] =
    ["A man is playing a guitar.", "The girl is reading.", "Nobody knows why the old bridge was never repaired."];

fn input() -> Input {
    Input::texts(TEXTS.iter().map(|&text| text.to_owned()).collect())
}

fn expected(package: &PackageFile) -> NamedTensors {
    Reference::quantized(package).unwrap().outputs(&input()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_of_the_browser_are_those_of_the_reference() {
    skip_unless!(browser_available(), mini_lm_available());
    let _sandbox = own_cache();
    let model = Model::open(&mini_lm(), "all-MiniLM-L6-v2").unwrap();
    let launch = LaunchOptions { gpu: Some(GpuProfile::Software), ..LaunchOptions::default() };
    let host = Host::builder().launch(launch).start().await.unwrap();
    for bits in [Bits::B16, Bits::B8, Bits::B4, Bits::B2] {
        let settings = Settings { bits: Some(bits), ..Settings::default() };
        let resolved = resolve(&Options { settings, ..Options::default() }, Platform::Webgpu, "bert").unwrap();
        let package = prepare::package(&model, &resolved.settings, Platform::Webgpu, &mut |_| {}).unwrap();
        let options = load_options(Platform::Webgpu, &resolved);
        let loaded = host.load("m", &package.path, &package.header.digest, options, LIMIT).await.unwrap();
        let megabytes_per_second = loaded.package_bytes as f64 / 1e3 / loaded.fetch_ms;
        let (_, outputs) =
            host.run("m", input(), RunOptions { runs: 1, ..RunOptions::default() }, LIMIT).await.unwrap();
        let error = quantization_error(&outputs, &expected(&package)).expect("outputs of one shape");
        println!("{bits} bits: cosine {:.7} to the reference, weights at {megabytes_per_second:.0} MB/s", error.cosine);
        assert!(error.cosine >= LEAST_COSINE, "{bits} bits: {error:?}");
        host.unload("m", LIMIT).await.unwrap();
    }
    host.shutdown().await;
}
