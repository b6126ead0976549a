//! What to do where a browser lacks something, by browser: the flag, the preference, the version. One table for `doctor`, for
//! the hints of runs and for `verify`.

use webnibble_common::capabilities::Capabilities;
use webnibble_common::options::{BrowserKind, Platform};

use BrowserKind::{Chrome, Edge, Firefox, Safari, Webkit};

/// First Chromium with WebNN, behind its flag.
const FIRST_CHROMIUM_WITH_WEBNN: u32 = 122;

/// What a browser can lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Missing {
    /// `navigator.gpu`.
    WebGpu,
    /// A WebGPU adapter.
    Adapter,
    /// An adapter in hardware, on a machine that has a GPU.
    Hardware,
    /// The adapter's feature `shader-f16`.
    F16,
    /// The adapter's feature `subgroups`.
    Subgroups,
    /// Relaxed SIMD in wasm.
    RelaxedSimd,
    /// `crossOriginIsolated`.
    Isolation,
    /// `navigator.ml`.
    NavigatorMl,
    /// A context on any device, where `navigator.ml` is there.
    WebNnBackend,
}

/// What to do about it in some browsers.
struct Advice(Missing, &'static [BrowserKind], &'static str);

/// By what is missing; where no browser is named, for all others and for those that are not known.
const TABLE: &[Advice] = &[
    Advice(
        Missing::WebGpu,
        &[Chrome],
        "use Chrome 113 or later: on Linux WebGPU is behind --enable-unsafe-webgpu, which webnibble sets (by hand: \
         chrome://flags/#enable-unsafe-webgpu), and pages have it on https and localhost alone",
    ),
    Advice(
        Missing::WebGpu,
        &[Edge],
        "use Edge 113 or later: on Linux WebGPU is behind --enable-unsafe-webgpu, which webnibble sets (by hand: \
         edge://flags/#enable-unsafe-webgpu), and pages have it on https and localhost alone",
    ),
    Advice(
        Missing::WebGpu,
        &[Firefox],
        "use Firefox 141 or later, with dom.webgpu.enabled and dom.webgpu.workers.enabled true in about:config (webnibble \
         sets both in browsers that it starts); pages have WebGPU on https and localhost alone",
    ),
    Advice(
        Missing::WebGpu,
        &[Safari],
        "use Safari 26 or later, or turn on the feature flag WebGPU in an earlier one (menu Develop, Feature Flags; the menu \
         itself in Settings, Advanced): it runs on Metal",
    ),
    Advice(Missing::WebGpu, &[Webkit], "WebKitGTK is built without WebGPU: take another browser for it"),
    Advice(Missing::WebGpu, &[], "use a newer browser, on a page of https or localhost"),
    Advice(
        Missing::Adapter,
        &[Chrome, Edge],
        "--gpu software takes the browser's own software adapter. For a GPU: graphics acceleration on (settings, System; \
         chrome://gpu says what is blocked, and --gpu system ignores that list), and on Linux the GPU's driver for Vulkan",
    ),
    Advice(
        Missing::Adapter,
        &[Firefox],
        "see that hardware acceleration is on (about:preferences, Performance; layers.acceleration.disabled false in \
         about:config) and gfx.webgpu.ignore-blocklist true, which webnibble sets; on Linux there must be a driver for \
         Vulkan: mesa-vulkan-drivers has one in software, which --gpu software takes",
    ),
    Advice(
        Missing::Adapter,
        &[Safari],
        "WebGPU runs on Metal there, which a Mac or virtual machine without a GPU for it does not have",
    ),
    Advice(Missing::Adapter, &[], "see that hardware acceleration is on and that the GPU's driver is installed"),
    Advice(
        Missing::Hardware,
        &[Chrome, Edge],
        "see that graphics acceleration is on (settings, System; chrome://gpu says what is blocked) and that the GPU's driver \
         is installed, on Linux that for Vulkan",
    ),
    Advice(
        Missing::Hardware,
        &[Firefox],
        "see that hardware acceleration is on (about:preferences, Performance; about:support says what is blocked) and that \
         the GPU's driver is installed, on Linux that for Vulkan",
    ),
    Advice(Missing::Hardware, &[], "see that hardware acceleration is on and that the GPU's driver is installed"),
    Advice(
        Missing::F16,
        &[Chrome, Edge],
        "from version 120 on where the GPU's driver has 16-bit arithmetic and storage; on NVIDIA under Linux --gpu \
         nvidia-headless turns it on (--enable-dawn-features=vulkan_enable_f16_on_nvidia,allow_unsafe_apis); the software \
         adapter has none",
    ),
    Advice(Missing::F16, &[], "a newer driver of the GPU may bring it"),
    Advice(Missing::Subgroups, &[Chrome, Edge], "from version 134 on where the GPU's driver has them"),
    Advice(Missing::Subgroups, &[Firefox], "Firefox has none as of 153, and there is no preference for it"),
    Advice(Missing::Subgroups, &[], "a newer browser or driver of the GPU may bring them"),
    Advice(Missing::RelaxedSimd, &[Chrome, Edge], "use version 114 or later"),
    Advice(
        Missing::RelaxedSimd,
        &[Firefox],
        "use a newer Firefox, or set javascript.options.wasm_relaxed_simd in about:config",
    ),
    Advice(Missing::RelaxedSimd, &[], "a newer browser may bring it"),
    Advice(
        Missing::Isolation,
        &[],
        "the page must come with the headers COOP same-origin and COEP require-corp, as webnibble serves it, from https or \
         localhost",
    ),
    Advice(
        Missing::NavigatorMl,
        &[Chrome],
        "use Chrome 122 or later, with --enable-features=WebMachineLearningNeuralNetwork, which webnibble sets (by hand: \
         \"Enables WebNN API\" in chrome://flags): docs/webnn.md",
    ),
    Advice(
        Missing::NavigatorMl,
        &[Edge],
        "use Edge 122 or later, with --enable-features=WebMachineLearningNeuralNetwork, which webnibble sets (by hand: \
         \"Enables WebNN API\" in edge://flags): docs/webnn.md",
    ),
    Advice(Missing::NavigatorMl, &[], "WebNN is in Chrome and Edge alone: docs/webnn.md says which have a backend"),
    Advice(
        Missing::WebNnBackend,
        &[],
        "the browser was built without a backend for WebNN, as distributions build Chromium: Google Chrome and Edge have one, \
         docs/webnn.md says more",
    ),
];

/// What to do where a browser lacks something.
pub fn advice(browser: Option<BrowserKind>, missing: Missing) -> &'static str {
    let rows = || TABLE.iter().filter(|row| row.0 == missing);
    let own = rows().find(|row| browser.is_some_and(|browser| row.1.contains(&browser)));
    own.or_else(|| rows().find(|row| row.1.is_empty())).map_or("", |row| row.2)
}

/// What a platform lacks in a page, as far as it is known: what was detected decides.
pub(crate) fn missing_of(platform: Platform, found: &Capabilities) -> Option<Missing> {
    match platform {
        Platform::Webgpu if !found.webgpu.present => Some(Missing::WebGpu),
        Platform::Webgpu if found.webgpu.adapter.is_none() => Some(Missing::Adapter),
        Platform::Webnn if !found.webnn.present => Some(Missing::NavigatorMl),
        Platform::Webnn if !found.webnn.devices.values().any(|device| device.created) => Some(Missing::WebNnBackend),
        Platform::Webgpu | Platform::Webnn | Platform::Wasm | Platform::Auto => None,
    }
}

/// The hint of a run whose platform is not there.
pub(crate) fn hint(platform: Platform, found: &Capabilities) -> String {
    let Some(missing) = missing_of(platform, found) else {
        return "`webnibble doctor` says what the browser can do; --platform wasm runs in every one".into();
    };
    let browser = browser_of(&found.user_agent);
    format!("{}; --platform wasm needs none", with_webnn_browser(missing, advice(browser, missing)))
}

/// The advice, with the browser that has a backend where there is one to have.
pub(crate) fn with_webnn_browser(missing: Missing, advice: &str) -> String {
    use crate::browsers::{WEBNN_SCRIPT, can_be_fetched, webnn_browser};
    if !matches!(missing, Missing::WebNnBackend | Missing::NavigatorMl) {
        return advice.to_owned();
    }
    match webnn_browser() {
        Some(path) => {
            format!("{advice}; one that has it is here: --browser chrome --browser-binary {}", path.display())
        }
        None if can_be_fetched() => format!("{advice}; `{WEBNN_SCRIPT}` fetches a Chromium that has it"),
        None => advice.to_owned(),
    }
}

/// Why a page lacks `navigator.ml`, where its browser is older than the first that has it.
pub(crate) fn too_old_for_webnn(found: &Capabilities) -> Option<String> {
    let major = chromium_major(&found.user_agent).filter(|major| *major < FIRST_CHROMIUM_WITH_WEBNN)?;
    Some(format!("WebNN is in version {FIRST_CHROMIUM_WITH_WEBNN} and later, this browser is version {major}"))
}

/// The browser by what it says of itself.
pub fn browser_of(user_agent: &str) -> Option<BrowserKind> {
    let says = |word: &str| user_agent.contains(word);
    match () {
        () if says("Edg/") => Some(Edge),
        () if says("Chrome/") => Some(Chrome),
        () if says("Firefox/") => Some(Firefox),
        () if says("AppleWebKit/") && says("Linux") => Some(Webkit),
        () if says("AppleWebKit/") => Some(Safari),
        () => None,
    }
}

/// The first number of a Chromium's version.
fn chromium_major(user_agent: &str) -> Option<u32> {
    user_agent.split("Chrome/").nth(1)?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use webnibble_common::capabilities::Adapter;

    const ALL: [Missing; 9] = [
        Missing::WebGpu,
        Missing::Adapter,
        Missing::Hardware,
        Missing::F16,
        Missing::Subgroups,
        Missing::RelaxedSimd,
        Missing::Isolation,
        Missing::NavigatorMl,
        Missing::WebNnBackend,
    ];

    #[test]
    fn every_browser_has_words_for_everything_that_can_be_missing() {
        for missing in ALL {
            for browser in BrowserKind::ALL.iter().copied().map(Some).chain([None]) {
                assert!(!advice(browser, missing).is_empty(), "{browser:?} {missing:?}");
            }
        }
        for (browser, missing, words) in [
            (Chrome, Missing::WebGpu, "--enable-unsafe-webgpu"),
            (Firefox, Missing::WebGpu, "dom.webgpu.enabled"),
            (Firefox, Missing::Adapter, "hardware acceleration"),
            (Safari, Missing::WebGpu, "Feature Flags"),
            (Safari, Missing::Adapter, "Metal"),
            (Edge, Missing::NavigatorMl, "edge://flags"),
            (Firefox, Missing::RelaxedSimd, "wasm_relaxed_simd"),
        ] {
            assert!(advice(Some(browser), missing).contains(words), "{browser} {missing:?}");
        }
        for browser in [Firefox, Safari, Webkit] {
            assert!(!advice(Some(browser), Missing::Adapter).contains("browser's own software adapter"), "{browser}");
        }
    }

    #[test]
    fn browsers_are_known_by_their_user_agents() {
        let webkit = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15";
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/121.0.0.0 Safari/537.36";
        for (agent, browser) in [
            (chrome.to_owned(), Some(Chrome)),
            (format!("{chrome} Edg/121.0"), Some(Edge)),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0".into(), Some(Firefox)),
            (format!("Mozilla/5.0 (X11; Linux x86_64) {webkit}"), Some(Webkit)),
            (format!("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {webkit}"), Some(Safari)),
            (String::new(), None),
        ] {
            assert_eq!(browser_of(&agent), browser, "{agent}");
        }
        let old = Capabilities { user_agent: chrome.into(), ..Capabilities::default() };
        assert!(too_old_for_webnn(&old).unwrap().contains("122 and later, this browser is version 121"));
        let new = Capabilities { user_agent: chrome.replace("121", "122"), ..Capabilities::default() };
        assert_eq!(too_old_for_webnn(&new), None);
    }

    #[test]
    fn a_hint_is_of_what_was_detected() {
        let firefox = "Gecko/20100101 Firefox/153.0";
        let mut found = Capabilities { user_agent: firefox.into(), ..Capabilities::default() };
        assert!(hint(Platform::Webgpu, &found).contains("dom.webgpu.enabled"));
        found.webgpu.present = true;
        assert!(hint(Platform::Webgpu, &found).contains("about:preferences"));
        found.webgpu.adapter = Some(Adapter::default());
        assert!(hint(Platform::Webgpu, &found).contains("webnibble doctor"));
        assert!(hint(Platform::Webnn, &found).contains("Chrome and Edge alone"));
    }
}
