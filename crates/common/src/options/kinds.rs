//! What an option may be, where it is one of a few names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Declares an enum whose variants have one name each: in JSON, on the command line and in print.
macro_rules! named {
    ($(#[$meta:meta])* $name:ident, $what:literal { $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_meta])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every one of them, in the order in which they are offered.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name in JSON and on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let found = Self::ALL.iter().find(|one| one.name() == text);
                found.copied().ok_or_else(|| {
                    let names: Vec<_> = Self::ALL.iter().map(|one| one.name()).collect();
                    format!(concat!($what, " should be one of {}, found `{}`"), names.join(", "), text)
                })
            }
        }
    };
}

named! {
    /// Where a model is asked to run.
    Platform, "platform" {
        /// WGSL kernels on a GPU, or on the browser's software adapter.
        Webgpu = "webgpu",
        /// A WebNN graph.
        Webnn = "webnn",
        /// The CPU executor in WebAssembly.
        Wasm = "wasm",
        /// The fastest that runs, found by measuring.
        Auto = "auto",
    }
}

named! {
    /// Who computes.
    Engine, "engine" {
        /// Our kernels and graphs.
        Native = "native",
        /// transformers.js, over onnxruntime-web.
        TransformersJs = "transformers-js",
    }
}

named! {
    /// A browser, by its maker.
    BrowserKind, "browser" {
        /// Chrome or Chromium.
        Chrome = "chrome",
        /// Firefox.
        Firefox = "firefox",
        /// Microsoft Edge.
        Edge = "edge",
        /// Safari.
        Safari = "safari",
        /// WebKitGTK: Safari's engine on Linux.
        Webkit = "webkit",
    }
}

named! {
    /// Which flags make a browser find its GPU.
    GpuProfile, "GPU profile" {
        /// The browser's own software adapter: the same everywhere, and slow.
        Software = "software",
        /// What the browser chooses by itself.
        System = "system",
        /// An NVIDIA GPU on a machine without a screen.
        NvidiaHeadless = "nvidia-headless",
    }
}

named! {
    /// WebNN's device.
    ExecutionProvider, "execution provider" {
        /// The CPU.
        Cpu = "cpu",
        /// The GPU.
        Gpu = "gpu",
        /// The neural processor.
        Npu = "npu",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_json_and_on_the_command_line() {
        for platform in Platform::ALL {
            assert_eq!(serde_json::to_value(platform).unwrap(), platform.name());
            assert_eq!(platform.name().parse(), Ok(*platform));
        }
        assert_eq!(serde_json::to_value(GpuProfile::NvidiaHeadless).unwrap(), "nvidia-headless");
        let error = "opera".parse::<BrowserKind>().unwrap_err();
        assert_eq!(error, "browser should be one of chrome, firefox, edge, safari, webkit, found `opera`");
    }
}
