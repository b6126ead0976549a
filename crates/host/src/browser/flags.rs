//! What Chromium is started with: one table, each flag with its reason.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use webnibble_common::options::GpuProfile;

use super::driver::TEMPORARY;

/// Flags that do not depend on the GPU.
const COMMON: &[&str] = &[
    // A fresh profile asks questions otherwise.
    "--no-first-run",
    "--no-default-browser-check",
    // Nothing but our page is to use network, processor or memory while it is measured.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    // A page in a window that nobody looks at must compute as fast as one in front.
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    // Names of adapters in full, and timestamps that are not rounded to 100 µs.
    "--enable-webgpu-developer-features",
];

/// Features of Chromium that are off by default. One flag holds all of them: the last of several would win.
const FEATURES: &[&str] = &["WebMachineLearningNeuralNetwork"];

/// `/dev/shm` is small in containers, and a page that does not fit crashes.
const LINUX: &[&str] = &["--disable-dev-shm-usage"];

/// What makes Chromium find its GPU.
struct GpuFlags {
    profile: GpuProfile,
    args: &'static [&'static str],
    features: &'static [&'static str],
    /// Whether the Vulkan loader is to see NVIDIA's driver alone.
    nvidia_driver: bool,
}

const GPU: &[GpuFlags] = &[
    GpuFlags {
        profile: GpuProfile::Software,
        args: &["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
        features: &[],
        nvidia_driver: false,
    },
    GpuFlags {
        profile: GpuProfile::System,
        args: &["--enable-unsafe-webgpu", "--ignore-gpu-blocklist"],
        features: &[],
        nvidia_driver: false,
    },
    GpuFlags {
        profile: GpuProfile::NvidiaHeadless,
        args: &[
            "--enable-unsafe-webgpu",
            "--ignore-gpu-blocklist",
            "--use-angle=vulkan",
            "--disable-vulkan-surface",
            // Dawn keeps `shader-f16` from NVIDIA's driver without these.
            "--enable-dawn-features=vulkan_enable_f16_on_nvidia,allow_unsafe_apis",
        ],
        features: &["Vulkan"],
        nvidia_driver: true,
    },
];

/// Where NVIDIA's driver says how the Vulkan loader finds it.
const NVIDIA_ICDS: &[&str] = &[
    "/usr/share/vulkan/icd.d/nvidia_icd.json",
    "/etc/vulkan/icd.d/nvidia_icd.json",
    "/usr/share/vulkan/icd.d/nvidia_icd.x86_64.json",
];

/// The arguments of Chromium, whose files go into `folder`; `more` (the caller's own) last.
pub(super) fn arguments(gpu: GpuProfile, headless: bool, as_root: bool, folder: &Path, more: &[String]) -> Vec<String> {
    let row = row_of(gpu);
    let mut args: Vec<String> = COMMON.iter().chain(row.args).map(|&arg| arg.to_owned()).collect();
    if cfg!(target_os = "linux") {
        args.extend(LINUX.iter().map(|&arg| arg.to_owned()));
    }
    if headless {
        args.push("--headless=new".into());
    }
    if as_root {
        // Chromium's sandbox refuses to work for root.
        args.push("--no-sandbox".into());
    }
    args.push(format!("--user-data-dir={}", folder.join("profile").display()));
    let mut features: Vec<&str> = FEATURES.iter().chain(row.features).copied().collect();
    for arg in more {
        match arg.strip_prefix("--enable-features=") {
            Some(theirs) => features.extend(theirs.split(',')),
            None => args.push(arg.clone()),
        }
    }
    args.push(format!("--enable-features={}", features.join(",")));
    args
}

/// Variables of the environment that the browser needs beside its flags.
pub(super) fn environment(gpu: GpuProfile, folder: &Path) -> Vec<(&'static str, OsString)> {
    // Crash reports go away with the folder, and their handler can be told from other browsers'.
    let mut variables = vec![("BREAKPAD_DUMP_LOCATION", folder.join("crashes").into_os_string())];
    if cfg!(target_os = "linux") {
        // A browser that is killed leaves its temporary files. Elsewhere its socket's path would become too long.
        variables.push(("TMPDIR", folder.join(TEMPORARY).into_os_string()));
    }
    if row_of(gpu).nvidia_driver
        && let Some(icd) = nvidia_icd()
    {
        variables.push(("VK_DRIVER_FILES", icd.into_os_string()));
    }
    variables
}

/// The profile for a machine where the caller says nothing: a GPU that can be seen, or the software adapter.
pub fn default_gpu_profile(headless: bool) -> GpuProfile {
    if !cfg!(target_os = "linux") {
        return GpuProfile::System;
    }
    if headless && Path::new("/dev/nvidiactl").exists() && nvidia_icd().is_some() {
        return GpuProfile::NvidiaHeadless;
    }
    let render_node = Path::new("/dev/dri/renderD128").exists();
    if render_node { GpuProfile::System } else { GpuProfile::Software }
}

fn nvidia_icd() -> Option<PathBuf> {
    NVIDIA_ICDS.iter().map(PathBuf::from).find(|path| path.is_file())
}

fn row_of(gpu: GpuProfile) -> &'static GpuFlags {
    GPU.iter().find(|row| row.profile == gpu).expect("every profile has a row")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(gpu: GpuProfile, more: &[&str]) -> Vec<String> {
        let more: Vec<_> = more.iter().map(|&arg| arg.to_owned()).collect();
        arguments(gpu, true, true, Path::new("/p"), &more)
    }

    #[test]
    fn the_software_profile_asks_for_swiftshader() {
        let args = of(GpuProfile::Software, &[]);
        for arg in ["--use-webgpu-adapter=swiftshader", "--headless=new", "--no-sandbox", "--user-data-dir=/p/profile"]
        {
            assert!(args.iter().any(|one| one == arg), "no {arg} in {args:?}");
        }
        assert!(!args.iter().any(|arg| arg.contains("vulkan")));
    }

    #[test]
    fn features_are_one_flag_with_the_callers_among_them() {
        let args = of(GpuProfile::NvidiaHeadless, &["--enable-features=A,B", "--x"]);
        let features: Vec<_> = args.iter().filter(|arg| arg.starts_with("--enable-features=")).collect();
        assert_eq!(features, ["--enable-features=WebMachineLearningNeuralNetwork,Vulkan,A,B"]);
        assert!(args.iter().any(|arg| arg == "--x"));
        assert!(args.iter().any(|arg| arg.contains("vulkan_enable_f16_on_nvidia")));
    }

    #[test]
    fn a_window_and_a_sandbox_are_kept_where_they_can_be() {
        let args = arguments(GpuProfile::System, false, false, Path::new("/p"), &[]);
        assert!(!args.iter().any(|arg| arg.starts_with("--headless") || arg == "--no-sandbox"));
    }

    #[test]
    fn every_profile_has_a_row() {
        for gpu in GpuProfile::ALL {
            assert!(!of(*gpu, &[]).is_empty());
        }
    }
}
