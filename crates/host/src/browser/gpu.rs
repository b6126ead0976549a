//! Which GPU this machine has, as far as starting browsers needs to know.

use std::path::{Path, PathBuf};

use webnibble_common::options::GpuProfile;

/// Names the descriptions of drivers that the Vulkan loader is to see, and no others.
pub(super) const VULKAN_DRIVERS: &str = "VK_DRIVER_FILES";

/// Where NVIDIA's driver says how the Vulkan loader finds it.
const NVIDIA_ICDS: &[&str] = &[
    "/usr/share/vulkan/icd.d/nvidia_icd.json",
    "/etc/vulkan/icd.d/nvidia_icd.json",
    "/usr/share/vulkan/icd.d/nvidia_icd.x86_64.json",
];

/// Where Mesa's software driver, lavapipe, says how it is found.
const LAVAPIPE_ICDS: &[&str] =
    &["/usr/share/vulkan/icd.d/lvp_icd.x86_64.json", "/usr/share/vulkan/icd.d/lvp_icd.aarch64.json"];

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

/// The description of NVIDIA's driver, where it is installed.
pub(super) fn nvidia_icd() -> Option<PathBuf> {
    NVIDIA_ICDS.iter().map(PathBuf::from).find(|path| path.is_file())
}

/// The description of lavapipe, where it is installed.
pub(super) fn lavapipe_icd() -> Option<PathBuf> {
    LAVAPIPE_ICDS.iter().map(PathBuf::from).find(|path| path.is_file())
}
