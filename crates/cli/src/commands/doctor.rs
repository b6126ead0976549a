//! `webnibble doctor`: what browsers are here, and what they can do.

use std::process::ExitCode;

use webnibble_common::capabilities::{Capabilities, WebNn};
use webnibble_host::browser::PassedOver;
use webnibble_host::browsers::{browsers_for, name_of, webnn_browser_missing};
use webnibble_host::doctor::{Examination, examine};

use super::tell;
use crate::args::DoctorArgs;
use crate::print;
use crate::progress::Bar;

/// Succeeds when a browser started and told what it can do.
pub(crate) async fn run(args: DoctorArgs, json: bool, verbose: bool) -> ExitCode {
    let named = args.launch.kinds();
    let bar = Bar::new(!json && !verbose);
    let mut examinations = Vec::new();
    for launch in browsers_for(&named, &args.launch.options()) {
        bar.step(&format!("starting {}", name_of(&launch)));
        examinations.push(examine(&launch, verbose).await);
    }
    bar.clear();
    match examinations.as_slice() {
        all if json => print::json(&all),
        [one] => print_examination(one),
        all => print_matrix(all),
    }
    if examinations.len() > 1 && named.is_empty() && !examinations.iter().any(has_webnn) {
        webnn_browser_missing().iter().for_each(|text| tell(text, json));
    }
    if examinations.iter().any(|one| one.error.is_none()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn has_webnn(examination: &Examination) -> bool {
    let found = examination.capabilities.as_ref();
    found.is_some_and(|found| found.webnn.devices.values().any(|device| device.created))
}

/// One row a browser, and below what to do about what is missing.
fn print_matrix(examinations: &[Examination]) {
    const HEADER: [&str; 10] =
        ["browser", "version", "driver", "WebGPU", "f16", "subgroups", "dot4", "WebNN", "wasm", "isolated"];
    let rows: Vec<_> = examinations.iter().map(matrix_row).collect();
    print::line(print::table(&HEADER, &rows));
    for examination in examinations {
        let say = |text: &str| print::line(format!("{}: {text}", examination.name));
        for PassedOver { path, reason } in &examination.passed_over {
            say(&format!("not taken: {}: {reason}", path.display()));
        }
        match &examination.error {
            Some(error) => say(&format!("{}\n  {}", error.message, error.hint)),
            None => examination.advice.iter().for_each(|advice| say(advice)),
        }
    }
}

fn matrix_row(examination: &Examination) -> Vec<String> {
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let mut row = vec![examination.name.clone(), or_dash(&examination.version), or_dash(&examination.driver_version)];
    let Some(found) = &examination.capabilities else {
        row.resize(10, "-".into());
        return row;
    };
    let adapter = found.webgpu.adapter.as_ref();
    let has = |feature: &str| yes(adapter.is_some_and(|adapter| adapter.features.iter().any(|one| one == feature)));
    let dot = found.webgpu.wgsl_language_features.iter().any(|one| one == "packed_4x8_integer_dot_product");
    let wasm = &found.wasm;
    let wasm: Vec<_> = [(wasm.simd, "SIMD"), (wasm.relaxed_simd, "relaxed"), (wasm.threads, "threads")]
        .into_iter()
        .filter_map(|(is, name)| is.then_some(name))
        .collect();
    row.extend([
        adapter.map_or("no", |adapter| if adapter.hardware { "hardware" } else { "software" }).to_owned(),
        has("shader-f16"),
        has("subgroups"),
        yes(dot && adapter.is_some()),
        contexts(&found.webnn),
        wasm.join(" "),
        yes(found.cross_origin_isolated),
    ]);
    row
}

fn print_examination(examination: &Examination) {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let row = |name: &str, text: String| print::line(format!("  {name:<15} {text}"));
    print::line(&examination.name);
    row("binary", format!("{} {}", or_dash(&examination.binary), or_dash(&examination.version)));
    row("driver", format!("{} {}", or_dash(&examination.driver), or_dash(&examination.driver_version)));
    for PassedOver { path, reason } in &examination.passed_over {
        row("not taken", format!("{}: {reason}", path.display()));
    }
    row("gpu profile", examination.gpu.to_string());
    if let Some(start_ms) = examination.start_ms {
        row("ready after", format!("{start_ms:.0} ms"));
    }
    if let Some(ping) = examination.ping_ms {
        row("socket", format!("{:.2} ms p50, {:.2} ms p90, {} round trips", ping.p50, ping.p90, ping.runs));
    }
    if let Some(capabilities) = &examination.capabilities {
        capability_rows(capabilities).into_iter().for_each(|(name, text)| row(name, text));
    }
    match &examination.error {
        // Its hint is the advice.
        Some(error) => print::error(error),
        None => examination.advice.iter().for_each(|advice| row("advice", advice.clone())),
    }
}

fn capability_rows(found: &Capabilities) -> Vec<(&'static str, String)> {
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let webgpu = match (&found.webgpu.adapter, &found.webgpu.error) {
        (Some(adapter), _) => {
            let kind = if adapter.hardware { "hardware" } else { "software" };
            let names = [&adapter.vendor, &adapter.architecture, &adapter.device, &adapter.description];
            let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).map(String::as_str).collect();
            format!("{kind} adapter: {}", names.join(", "))
        }
        (None, Some(error)) => format!("no adapter: {error}"),
        (None, None) => "no".into(),
    };
    let mut rows = vec![("webgpu", webgpu)];
    if let Some(adapter) = &found.webgpu.adapter {
        rows.push(("  features", adapter.features.join(", ")));
        if let Some((smallest, largest)) = adapter.subgroup_size {
            rows.push(("  subgroups", format!("{smallest} to {largest}")));
        }
        rows.push(("  wgsl", found.webgpu.wgsl_language_features.join(", ")));
        let limits = ["maxStorageBufferBindingSize", "maxBufferSize", "maxComputeInvocationsPerWorkgroup"];
        let limits = limits.iter().filter_map(|name| Some(format!("{name} {}", adapter.limits.get(*name)?)));
        rows.push(("  limits", limits.collect::<Vec<_>>().join(", ")));
    }
    rows.push(("webnn", webnn(&found.webnn)));
    let renderer = found.webgl.renderer.as_deref().unwrap_or("renderer not told");
    rows.push((
        "webgl",
        if found.webgl.version == 0 { "no".into() } else { format!("{}, {renderer}", found.webgl.version) },
    ));
    let wasm = &found.wasm;
    let features = [(wasm.simd, "SIMD"), (wasm.relaxed_simd, "relaxed SIMD"), (wasm.threads, "threads")];
    let features: Vec<_> = features.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    rows.push(("wasm", features.join(", ")));
    rows.push(("isolated", yes(found.cross_origin_isolated)));
    rows.push(("opfs", yes(found.opfs)));
    rows
}

/// The devices for which WebNN gave a context, and those that the browser claims a graph landed on, in a few words.
fn contexts(found: &WebNn) -> String {
    let created: Vec<_> = found.devices.iter().filter(|(_, device)| device.created).collect();
    if created.is_empty() {
        return "no".into();
    }
    let names: Vec<_> = created.iter().map(|(name, _)| name.as_str()).collect();
    let mut claimed: Vec<&str> = Vec::new();
    for name in created.iter().flat_map(|(_, device)| device.claimed_devices.iter().flatten()) {
        if !claimed.contains(&name.as_str()) {
            claimed.push(name);
        }
    }
    let claims = if claimed.is_empty() { "nothing".into() } else { claimed.join(" ") };
    format!("asked {}, claims {claims}", names.join(" "))
}

fn webnn(found: &WebNn) -> String {
    if !found.present {
        return "no".into();
    }
    // Devices that fail in the same way need saying it once.
    let mut by_outcome: Vec<(String, Vec<&str>)> = Vec::new();
    for (name, device) in &found.devices {
        let claim = match &device.claimed_devices {
            Some(claimed) => format!("a context, and the browser claims {}", claimed.join(" ")),
            None => "a context, and the browser does not say on what".to_owned(),
        };
        let outcome = device.error.clone().unwrap_or(claim);
        match by_outcome.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, names)) => names.push(name),
            None => by_outcome.push((outcome, vec![name])),
        }
    }
    let parts = by_outcome.iter().map(|(outcome, names)| format!("{}: {outcome}", names.join(", ")));
    parts.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use webnibble_common::capabilities::WebNnDevice;

    use super::*;

    #[test]
    fn what_a_browser_says_of_its_devices_is_marked_as_its_claim() {
        let device = |claimed: Option<&[&str]>| WebNnDevice {
            created: true,
            claimed_devices: claimed.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
            ..WebNnDevice::default()
        };
        let claims: [(_, &[&str]); 3] = [("cpu", &["cpu"]), ("gpu", &["gpu", "cpu"]), ("npu", &["cpu"])];
        let devices = claims.map(|(name, claimed)| (name.to_owned(), device(Some(claimed))));
        let found = WebNn { present: true, devices: devices.into() };
        assert_eq!(contexts(&found), "asked cpu gpu npu, claims cpu gpu");
        let expected =
            "cpu, npu: a context, and the browser claims cpu; gpu: a context, and the browser claims gpu cpu";
        assert_eq!(webnn(&found), expected);
        let silent = WebNn { present: true, devices: [("cpu".to_owned(), device(None))].into() };
        assert_eq!(contexts(&silent), "asked cpu, claims nothing");
        assert_eq!(contexts(&WebNn::default()), "no");
    }
}
