//! What to start.

use webnibble_common::options::{BrowserKind, GpuProfile, LaunchOptions};

use super::gpu::default_gpu_profile;

/// What to start.
#[derive(Clone, Debug)]
pub struct BrowserConfig {
    /// Which browser.
    pub kind: BrowserKind,
    /// Without a window.
    pub headless: bool,
    /// What makes it find its GPU.
    pub gpu: GpuProfile,
    /// The caller's paths and arguments.
    pub launch: LaunchOptions,
    /// Whether the browser is to print what it logs.
    pub verbose: bool,
}

impl BrowserConfig {
    /// Chromium by default, without a window, with the GPU that this machine seems to have.
    pub fn new(launch: LaunchOptions) -> Self {
        let headless = launch.headless.unwrap_or(true);
        Self {
            kind: launch.browser.unwrap_or(BrowserKind::Chrome),
            headless,
            gpu: launch.gpu.unwrap_or_else(|| default_gpu_profile(headless)),
            launch,
            verbose: false,
        }
    }
}
