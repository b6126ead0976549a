//! What a caller can choose. A field that is `None` was not chosen: [`crate::profiles`] finds its value.
//!
//! What depends on the model and on the browser is a row of one table (`table.rs`), which everything else reads.

use serde::{Deserialize, Serialize};

#[macro_use]
mod make;

mod kinds;
mod table;
mod types;
mod typescript;
mod value;

pub use kinds::{BrowserKind, Engine, ExecutionProvider, GpuProfile, Platform};
pub use table::{Effect, Heading, PageSettings, ROWS, ResolvedSettings, Row, Settings, row};
pub(crate) use table::{KERNELS, Visitor};
pub use types::OptionType;
pub use typescript::{PAGE_SETTINGS_TYPESCRIPT, camel_case};
pub use value::{OptionValue, Source, Sourced};

/// Everything a caller can choose for one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Where to run.
    pub platform: Option<Platform>,
    /// Who computes.
    pub engine: Option<Engine>,
    /// Go on to the next platform or to simulation where one fails; `false` makes the first failure an error.
    pub fallback: Option<bool>,
    /// What profiles have a say in.
    #[serde(flatten)]
    pub settings: Settings,
    /// Which browser, and how it is started.
    #[serde(flatten)]
    pub launch: LaunchOptions,
    /// What is measured.
    #[serde(flatten)]
    pub measure: MeasureOptions,
    /// How tokens are chosen by models that generate.
    #[serde(flatten)]
    pub generation: GenerationOptions,
}

/// Which browser, and how it is started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LaunchOptions {
    /// Which browser.
    pub browser: Option<BrowserKind>,
    /// Without a window.
    pub headless: Option<bool>,
    /// Which flags make it find its GPU.
    pub gpu: Option<GpuProfile>,
    /// Path of the browser.
    pub browser_binary: Option<String>,
    /// Path of its driver.
    pub driver: Option<String>,
    /// More arguments for the browser.
    pub browser_args: Option<Vec<String>>,
    /// A WebDriver server that is running already.
    pub webdriver: Option<String>,
    /// Host name by which a remote browser reaches this machine.
    pub advertise: Option<String>,
}

/// What is measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MeasureOptions {
    /// Runs before the measured ones; until times are steady where it is not given.
    pub warmup: Option<u32>,
    /// Measured runs.
    pub runs: Option<u32>,
    /// Time every kernel.
    pub profile: Option<bool>,
}

/// How tokens are chosen by models that generate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GenerationOptions {
    /// Most tokens to make.
    pub max_tokens: Option<u32>,
    /// Divides the logits; 0 takes the likeliest token.
    pub temperature: Option<f32>,
    /// Keep that many of the likeliest tokens.
    pub top_k: Option<u32>,
    /// Keep the likeliest tokens up to that probability in all.
    pub top_p: Option<f32>,
    /// Keep tokens at least that likely, relative to the likeliest.
    pub min_p: Option<f32>,
    /// Above 1, makes tokens that were there before less likely.
    pub repetition_penalty: Option<f32>,
    /// Of the random numbers.
    pub seed: Option<u64>,
    /// Texts that end the generation.
    pub stop: Option<Vec<String>>,
    /// Go on behind the model's end tokens.
    pub ignore_eos: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::{Bits, Granularity};

    #[test]
    fn options_are_one_flat_object_where_everything_may_be_left_out() {
        let text = r#"{"platform":"webgpu","bits":4,"granularity":{"group":32},"browser":"edge","runs":3,"top_k":5}"#;
        let options: Options = serde_json::from_str(text).unwrap();
        assert_eq!(options.platform, Some(Platform::Webgpu));
        assert_eq!(
            (options.settings.bits, options.settings.granularity),
            (Some(Bits::B4), Some(Granularity::Group(32)))
        );
        assert_eq!((options.launch.browser, options.measure.runs), (Some(BrowserKind::Edge), Some(3)));
        assert_eq!(options.generation.top_k, Some(5));
        assert_eq!(serde_json::from_str::<Options>("{}").unwrap(), Options::default());
    }
}
