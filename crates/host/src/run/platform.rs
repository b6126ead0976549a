//! Whether the page has a platform at all, by what it detected and by what it says when a model is loaded.

use webnibble_common::capabilities::{Capabilities, WebNnDevice};
use webnibble_common::options::{ExecutionProvider, Platform};
use webnibble_common::wire::ErrorCode;

use crate::advice;
use crate::error::HostError;

/// Why the page cannot have the platform at all, by what it detected: said before weights are sent for nothing.
pub(crate) fn missing(
    capabilities: &Capabilities,
    platform: Platform,
    device: Option<ExecutionProvider>,
) -> Option<HostError> {
    let reason = match platform {
        Platform::Webgpu => missing_webgpu(capabilities),
        Platform::Webnn => missing_webnn(capabilities, device),
        Platform::Wasm | Platform::Auto => None,
    };
    reason.map(|reason| unavailable(platform, reason, capabilities))
}

fn missing_webgpu(capabilities: &Capabilities) -> Option<String> {
    let webgpu = &capabilities.webgpu;
    match (&webgpu.adapter, &webgpu.error, webgpu.present) {
        (Some(_), ..) => None,
        (None, Some(error), _) => Some(error.clone()),
        (None, None, true) => Some("the browser gave no adapter".into()),
        (None, None, false) => Some("the page has no navigator.gpu".into()),
    }
}

fn missing_webnn(capabilities: &Capabilities, device: Option<ExecutionProvider>) -> Option<String> {
    let webnn = &capabilities.webnn;
    if !webnn.present {
        let old = advice::too_old_for_webnn(capabilities).map(|why| format!(": {why}")).unwrap_or_default();
        return Some(format!("the page has no navigator.ml{old}"));
    }
    let wanted = |name: &str| device.is_none_or(|device| device.name() == name);
    let devices: Vec<_> = webnn.devices.iter().filter(|(name, _)| wanted(name)).collect();
    if devices.iter().any(|(_, found)| found.created) {
        return None;
    }
    let error = |found: &WebNnDevice| found.error.clone().unwrap_or_else(|| "no context".into());
    let mut errors: Vec<String> = devices.iter().map(|(name, found)| format!("{name}: {}", error(found))).collect();
    if devices.windows(2).all(|pair| pair[0].1.error == pair[1].1.error) {
        // Mostly all devices fail alike.
        let names: Vec<_> = devices.iter().map(|(name, _)| name.as_str()).collect();
        errors =
            devices.first().map(|(_, found)| format!("{}: {}", names.join(", "), error(found))).into_iter().collect();
    }
    let errors = errors.join("; ");
    Some(format!("navigator.ml is there, but gave no context ({errors})"))
}

pub(super) fn unavailable(platform: Platform, reason: String, capabilities: &Capabilities) -> HostError {
    let hint = advice::hint(platform, capabilities);
    HostError::PlatformUnavailable { platform: platform.to_string(), reason, hint }
}

/// Names a platform that turned out to be missing, or to refuse the model, only when the model was loaded.
pub(super) fn with_platform_named(error: HostError, platform: Platform, capabilities: &Capabilities) -> HostError {
    match error {
        HostError::Remote { error, .. }
            if matches!(
                (error.code, platform),
                (ErrorCode::WebgpuUnavailable, Platform::Webgpu)
                    | (ErrorCode::WebnnUnavailable | ErrorCode::Unsupported, Platform::Webnn)
            ) =>
        {
            let hint = error.hint.clone();
            match unavailable(platform, error.message, capabilities) {
                HostError::PlatformUnavailable { platform, reason, .. } if !hint.is_empty() => {
                    HostError::PlatformUnavailable { platform, reason, hint }
                }
                other => other,
            }
        }
        other => other,
    }
}

#[cfg(test)]
#[path = "platform_tests.rs"]
mod tests;
