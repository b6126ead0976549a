//! What browsers this machine has, what they can do, and what to do about what is missing.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use webnibble_common::capabilities::Capabilities;
use webnibble_common::options::{BrowserKind, GpuProfile, LaunchOptions};
use webnibble_common::record::{ErrorInfo, Times};

use crate::advice::{self, Missing};
use crate::browser::{self, PassedOver, default_gpu_profile};
use crate::browsers::name_of;
use crate::error::HostError;
use crate::host::Host;

/// Round trips over the socket that are timed.
const PINGS: usize = 50;

/// How long one of them may take.
const PING_LIMIT: Duration = Duration::from_secs(5);

/// What was found out about one browser. Fields that are `None` were not got so far.
#[derive(Clone, Debug, Serialize)]
pub struct Examination {
    /// Which browser.
    pub browser: BrowserKind,
    /// As tables name it: its kind, with the file where one was named.
    pub name: String,
    /// Where it lies.
    pub binary: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Where its driver lies.
    pub driver: Option<String>,
    /// The driver's version.
    pub driver_version: Option<String>,
    /// Browsers and drivers that come before these, and are not taken.
    pub passed_over: Vec<PassedOver>,
    /// What made it look for its GPU.
    pub gpu: GpuProfile,
    /// From starting the driver to the page's report.
    pub start_ms: Option<f64>,
    /// Round trips of a small message.
    pub ping_ms: Option<Times>,
    /// What it can do.
    pub capabilities: Option<Capabilities>,
    /// Why it was not got further.
    pub error: Option<ErrorInfo>,
    /// What to do about what is missing.
    pub advice: Vec<String>,
}

/// Finds one browser, starts it and asks it what it can do.
pub async fn examine(launch: &LaunchOptions, verbose: bool) -> Examination {
    let kind = launch.browser.unwrap_or(BrowserKind::Chrome);
    let gpu = launch.gpu.unwrap_or_else(|| default_gpu_profile(launch.headless.unwrap_or(true)));
    let mut examination = Examination {
        browser: kind,
        name: name_of(launch),
        binary: None,
        version: None,
        driver: None,
        driver_version: None,
        passed_over: Vec::new(),
        gpu,
        start_ms: None,
        ping_ms: None,
        capabilities: None,
        error: None,
        advice: Vec::new(),
    };
    if let Err(error) = fill(&mut examination, launch, verbose).await {
        examination.advice.extend(Some(error.hint()).filter(|hint| !hint.is_empty()));
        examination.error = Some(error.info());
    }
    examination
}

async fn fill(examination: &mut Examination, launch: &LaunchOptions, verbose: bool) -> Result<(), HostError> {
    if let Some(url) = &launch.webdriver {
        examination.driver = Some(url.clone());
    } else {
        let found = browser::find(examination.browser, launch).await?;
        examination.binary = Some(found.binary.path.display().to_string());
        examination.version = Some(found.binary.version).filter(|version| !version.is_empty());
        examination.driver = Some(found.driver.path.display().to_string());
        examination.driver_version = Some(found.driver.version).filter(|version| !version.is_empty());
        examination.passed_over = found.passed_over;
    }
    let host = Host::builder().launch(launch.clone()).verbose(verbose).start().await?;
    let mut round_trips_ms = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        round_trips_ms.push(host.ping(PING_LIMIT).await?.as_secs_f64() * 1e3);
    }
    examination.ping_ms = Times::of(&round_trips_ms);
    // Some tell their version only when they run.
    examination.version = Some(host.info().version.clone());
    examination.start_ms = Some(host.info().start_ms);
    examination.advice = advice(examination.browser, host.capabilities(), examination.gpu, has_gpu());
    examination.capabilities = Some(host.capabilities().clone());
    host.shutdown().await;
    Ok(())
}

/// Whether the system shows a GPU, whatever the browser makes of it. `false` where it does not tell.
fn has_gpu() -> bool {
    ["/dev/nvidiactl", "/dev/dri/renderD128", "/dev/kfd"].iter().any(|path| Path::new(path).exists())
}

/// What to do about what is missing.
fn advice(browser: BrowserKind, found: &Capabilities, gpu: GpuProfile, has_gpu: bool) -> Vec<String> {
    let mut told: Vec<String> = lacks(found)
        .into_iter()
        .map(|(missing, what)| {
            let advice = advice::with_webnn_browser(missing, advice::advice(Some(browser), missing));
            format!("{what}: {advice}")
        })
        .collect();
    if found.webgpu.adapter.as_ref().is_some_and(|adapter| !adapter.hardware) {
        told.insert(0, in_software(browser, gpu, has_gpu));
    }
    told
}

/// What a browser lacks, in words, with what was seen of it.
fn lacks(found: &Capabilities) -> Vec<(Missing, String)> {
    let mut lacks = Vec::new();
    match (&found.webgpu.adapter, found.webgpu.present) {
        (None, false) => lacks.push((Missing::WebGpu, "the page has no navigator.gpu".to_owned())),
        (None, true) => {
            let reason = found.webgpu.error.as_deref().unwrap_or("it gives no reason");
            lacks.push((Missing::Adapter, format!("the browser gives no WebGPU adapter ({reason})")));
        }
        (Some(adapter), _) => {
            let has = |feature: &str| adapter.features.iter().any(|one| one == feature);
            if !has("shader-f16") {
                lacks.push((Missing::F16, "the adapter has no shader-f16, so kernels compute in f32".to_owned()));
            }
            if !has("subgroups") {
                lacks.push((Missing::Subgroups, "the adapter has no subgroups, so other kernels run".to_owned()));
            }
        }
    }
    if !found.webnn.present {
        let old = advice::too_old_for_webnn(found).map(|why| format!(" ({why})")).unwrap_or_default();
        lacks.push((Missing::NavigatorMl, format!("the page has no navigator.ml{old}")));
    } else if !found.webnn.devices.values().any(|device| device.created) {
        let reason = found.webnn.devices.values().find_map(|device| device.error.as_deref());
        let reason = reason.unwrap_or("no reason given");
        lacks.push((Missing::WebNnBackend, format!("navigator.ml is there, but gives no context ({reason})")));
    }
    if !found.wasm.relaxed_simd {
        lacks.push((Missing::RelaxedSimd, "wasm has no relaxed SIMD, so the binary without it runs".to_owned()));
    }
    if !found.cross_origin_isolated {
        let what = "the page is not cross-origin isolated: no threads, and coarse timers".to_owned();
        lacks.push((Missing::Isolation, what));
    }
    lacks
}

/// What to do where WebGPU is not on a GPU.
fn in_software(browser: BrowserKind, gpu: GpuProfile, has_gpu: bool) -> String {
    if !has_gpu {
        return "WebGPU runs in software: results are right, times say nothing about a GPU".into();
    }
    let profile = if Path::new("/dev/nvidiactl").exists() { "nvidia-headless" } else { "system" };
    let because = if gpu == GpuProfile::Software { "as --gpu software asks for" } else { "its driver may be missing" };
    let advice = advice::advice(Some(browser), Missing::Hardware);
    format!("this machine has a GPU, but WebGPU runs in software ({because}): try --gpu {profile}, and {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use webnibble_common::capabilities::{Adapter, WebNnDevice};

    /// A page that lacks nothing.
    fn complete() -> Capabilities {
        let features = ["shader-f16", "subgroups"].map(str::to_owned).to_vec();
        let mut found = Capabilities { cross_origin_isolated: true, ..Capabilities::default() };
        found.webgpu.present = true;
        found.webgpu.adapter = Some(Adapter { hardware: true, features, ..Adapter::default() });
        found.webnn.present = true;
        found.webnn.devices.insert("cpu".into(), WebNnDevice { created: true, ..WebNnDevice::default() });
        found.wasm.relaxed_simd = true;
        found
    }

    #[track_caller]
    fn assert_told(browser: BrowserKind, found: &Capabilities, words: &[&str]) {
        let told = advice(browser, found, GpuProfile::System, false).join("\n");
        for word in words {
            assert!(told.contains(word), "no `{word}` in:\n{told}");
        }
    }

    #[test]
    fn who_lacks_nothing_is_told_nothing() {
        assert_eq!(advice(BrowserKind::Chrome, &complete(), GpuProfile::System, true), [] as [String; 0]);
    }

    #[test]
    fn what_is_missing_gets_the_advice_of_its_browser() {
        let mut found = complete();
        (found.webgpu.present, found.webgpu.adapter) = (false, None);
        assert_told(BrowserKind::Chrome, &found, &["no navigator.gpu", "Chrome 113"]);
        assert_told(BrowserKind::Firefox, &found, &["dom.webgpu.enabled"]);
        assert_told(BrowserKind::Webkit, &found, &["built without WebGPU"]);
        found.webgpu.present = true;
        found.webgpu.error = Some("requestAdapter gave null".into());
        assert_told(BrowserKind::Firefox, &found, &["(requestAdapter gave null)", "hardware acceleration"]);
        found.webgpu.adapter = Some(Adapter { hardware: true, ..Adapter::default() });
        assert_told(BrowserKind::Chrome, &found, &["no shader-f16", "nvidia-headless", "no subgroups", "134"]);
        found.wasm.relaxed_simd = false;
        assert_told(BrowserKind::Firefox, &found, &["no relaxed SIMD", "wasm_relaxed_simd"]);
        found.cross_origin_isolated = false;
        assert_told(BrowserKind::Chrome, &found, &["not cross-origin isolated", "COOP"]);
    }

    #[test]
    fn an_adapter_in_software_is_named_with_what_the_machine_has() {
        let mut found = complete();
        found.webgpu.adapter.as_mut().unwrap().hardware = false;
        let told = |has_gpu| advice(BrowserKind::Chrome, &found, GpuProfile::Software, has_gpu).remove(0);
        assert!(told(false).contains("runs in software") && told(true).contains("this machine has a GPU"));
        assert!(told(true).contains("graphics acceleration"), "{}", told(true));
    }

    #[test]
    fn webnn_without_a_backend_or_without_anything_is_named() {
        let mut found = complete();
        let device = WebNnDevice { error: Some("NotSupportedError".into()), ..WebNnDevice::default() };
        found.webnn.devices.insert("cpu".into(), device);
        assert_told(BrowserKind::Chrome, &found, &["NotSupportedError", "without a backend"]);
        found.webnn.present = false;
        found.user_agent = "HeadlessChrome/121.0.0.0".into();
        assert_told(BrowserKind::Chrome, &found, &["no navigator.ml (WebNN is in version 122", "Chrome 122 or later"]);
        assert_told(BrowserKind::Firefox, &found, &["Chrome and Edge alone"]);
    }
}
