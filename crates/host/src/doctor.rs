//! What browsers this machine has, what they can do, and what to do about what is missing.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use webnibble_common::capabilities::Capabilities;
use webnibble_common::options::{BrowserKind, GpuProfile, LaunchOptions};
use webnibble_common::result::{ErrorInfo, Times};

use crate::browser::{self, default_gpu_profile};
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
    /// Where it lies.
    pub binary: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Where its driver lies.
    pub driver: Option<String>,
    /// The driver's version.
    pub driver_version: Option<String>,
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

/// Browsers that can be on this system.
pub fn possible() -> impl Iterator<Item = BrowserKind> {
    let here = |kind: &BrowserKind| match kind {
        BrowserKind::Safari => cfg!(target_os = "macos"),
        BrowserKind::Webkit => cfg!(target_os = "linux"),
        BrowserKind::Chrome | BrowserKind::Firefox | BrowserKind::Edge => true,
    };
    BrowserKind::ALL.iter().copied().filter(here)
}

/// Finds one browser, starts it and asks it what it can do.
pub async fn examine(kind: BrowserKind, launch: &LaunchOptions, verbose: bool) -> Examination {
    let gpu = launch.gpu.unwrap_or_else(|| default_gpu_profile(launch.headless.unwrap_or(true)));
    let mut examination = Examination {
        browser: kind,
        binary: None,
        version: None,
        driver: None,
        driver_version: None,
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
    }
    let launch = LaunchOptions { browser: Some(examination.browser), ..launch.clone() };
    let host = Host::builder().launch(launch).verbose(verbose).start().await?;
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
fn advice(browser: BrowserKind, capabilities: &Capabilities, gpu: GpuProfile, has_gpu: bool) -> Vec<String> {
    let mut advice = Vec::new();
    let webgpu = &capabilities.webgpu;
    match &webgpu.adapter {
        None if !webgpu.present && browser == BrowserKind::Webkit => {
            advice.push("WebKitGTK is built without WebGPU: --platform wasm runs".to_owned());
        }
        None if !webgpu.present => advice.push(
            "the page has no navigator.gpu: use a newer browser, and leave its flags for WebGPU as webnibble sets them"
                .to_owned(),
        ),
        None => advice.push(format!(
            "the browser gives no WebGPU adapter ({}): --gpu software takes the browser's own software adapter",
            webgpu.error.as_deref().unwrap_or("it gives no reason")
        )),
        Some(adapter) if !adapter.hardware && has_gpu => {
            let profile = if Path::new("/dev/nvidiactl").exists() { "nvidia-headless" } else { "system" };
            let because =
                if gpu == GpuProfile::Software { "as --gpu software asks for" } else { "its driver may be missing" };
            advice.push(format!(
                "this machine has a GPU, but WebGPU runs in software ({because}): try --gpu {profile}, and see that the \
                 driver for Vulkan is installed"
            ));
        }
        Some(adapter) if !adapter.hardware => {
            advice.push("WebGPU runs in software: results are right, times say nothing about a GPU".to_owned());
        }
        Some(_) => {}
    }
    let webnn = &capabilities.webnn;
    if webnn.present && !webnn.devices.values().any(|device| device.created) {
        let reason = webnn.devices.values().find_map(|device| device.error.as_deref()).unwrap_or("no reason given");
        advice.push(format!(
            "navigator.ml is there, but the browser was built without a backend for it ({reason}): docs/webnn.md says \
             which browsers have one"
        ));
    }
    if !capabilities.cross_origin_isolated {
        advice.push("the page is not cross-origin isolated: no threads, and coarse timers".to_owned());
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;
    use webnibble_common::capabilities::{Adapter, WebNnDevice};

    fn isolated() -> Capabilities {
        Capabilities { cross_origin_isolated: true, ..Capabilities::default() }
    }

    #[test]
    fn what_is_missing_gets_its_advice() {
        let mut capabilities = isolated();
        assert!(advice(BrowserKind::Chrome, &capabilities, GpuProfile::System, false)[0].contains("no navigator.gpu"));
        let webkit = advice(BrowserKind::Webkit, &capabilities, GpuProfile::System, false);
        assert!(webkit[0].contains("built without WebGPU"));
        capabilities.webgpu.present = true;
        capabilities.webgpu.error = Some("requestAdapter gave null".into());
        assert!(
            advice(BrowserKind::Chrome, &capabilities, GpuProfile::System, false)[0]
                .contains("(requestAdapter gave null)")
        );
        capabilities.webgpu.adapter = Some(Adapter::default());
        assert!(
            advice(BrowserKind::Chrome, &capabilities, GpuProfile::Software, false)[0].contains("runs in software")
        );
        assert!(
            advice(BrowserKind::Chrome, &capabilities, GpuProfile::Software, true)[0]
                .contains("this machine has a GPU")
        );
        capabilities.webgpu.adapter = Some(Adapter { hardware: true, ..Adapter::default() });
        assert!(advice(BrowserKind::Chrome, &capabilities, GpuProfile::System, true).is_empty());
    }

    #[test]
    fn webnn_without_a_backend_is_named() {
        let mut capabilities = isolated();
        capabilities.webgpu.adapter = Some(Adapter { hardware: true, ..Adapter::default() });
        capabilities.webnn.present = true;
        let device = WebNnDevice { error: Some("NotSupportedError".into()), ..WebNnDevice::default() };
        capabilities.webnn.devices.insert("cpu".into(), device);
        assert!(advice(BrowserKind::Chrome, &capabilities, GpuProfile::System, true)[0].contains("NotSupportedError"));
    }
}
