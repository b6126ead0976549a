//! Results for people: a Markdown table, and one HTML page that holds everything it needs.

mod compare;
mod html;
mod markdown;
#[cfg(test)]
pub(crate) mod testing;

use webnibble_common::capabilities::Adapter;
use webnibble_common::options::Platform;
use webnibble_common::profiles::Source;
use webnibble_common::record::{EngineRatio, HostInfo, RunInfo, RunRecord, Times};

pub use compare::{Change, compare, comparison_table};
pub use html::html;
pub use markdown::markdown;

/// A result in the words of a table.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ReportRow {
    /// `chrome 156`.
    pub browser: String,
    /// The platform that was asked for.
    pub platform: String,
    /// Who computed.
    pub engine: String,
    /// Name of the model; what was typed where it was not read.
    pub model: String,
    /// Bits of the linear weights, and of activations where these are quantized too: `8/8`.
    pub bits: String,
    /// Bits that were asked for, where they are others.
    pub asked_bits: Option<String>,
    /// Groups and attention, and threads that were asked for: `g128, attention 8, threads 2`; empty where nothing is known of
    /// them, and for floats.
    pub format: String,
    /// Items in one run.
    pub batch: Option<usize>,
    /// Tokens of the longest item.
    pub sequence_length: Option<usize>,
    /// What ran.
    pub implementation_type: Option<String>,
    /// `hardware` or `software`, for WebGPU.
    pub adapter: Option<String>,
    /// From the start of the browser to the first answer, where the row had a browser of its own.
    pub start_ms: Option<f64>,
    /// Loading, first inference and later ones.
    pub load_ms: Option<f64>,
    /// The first inference of its shape.
    pub first_ms: Option<f64>,
    /// Median of later ones, on the platform or, for a simulation, on the CPU.
    pub p50_ms: Option<f64>,
    /// 90th percentile.
    pub p90_ms: Option<f64>,
    /// Smallest.
    pub min_ms: Option<f64>,
    /// Number of runs.
    pub runs: Option<usize>,
    /// GPU time.
    pub gpu_ms: Option<f64>,
    /// The median by that of another engine, with its interval.
    pub ratio: Option<EngineRatio>,
    /// Weights in the backend's memory.
    pub weights_bytes: Option<u64>,
    /// Most bytes of GPU buffers.
    pub gpu_peak_bytes: Option<u64>,
    /// Memory of wasm.
    pub wasm_heap_bytes: Option<u64>,
    /// Resident memory of the browser's processes.
    pub browser_rss_bytes: Option<u64>,
    /// Proportional memory of the same.
    pub browser_pss_bytes: Option<u64>,
    /// Mean cosine to f32.
    pub cosine: Option<f64>,
    /// Steps of the fallback chain, why nothing ran, and why its times say little.
    pub notes: Vec<String>,
    /// What was asked for beyond bits, and is compared only with its like.
    #[serde(skip)]
    asked_format: String,
    /// System, processor and cores.
    #[serde(skip)]
    machine: String,
    /// Names of the adapter that ran it, for WebGPU.
    #[serde(skip)]
    adapter_names: Option<String>,
}

impl ReportRow {
    /// A record in the words of a table.
    pub fn of(record: &RunRecord) -> Self {
        let metrics = &record.performance_metrics;
        let times = metrics.inference_time_ms.or(metrics.cpu_time_ms);
        let (input, memory) = (record.input.as_ref(), &metrics.memory);
        let asked_format = asked_format(record);
        Self {
            browser: browser(record),
            platform: record.platform.to_string(),
            engine: record.engine.to_string(),
            model: record
                .model
                .as_ref()
                .map_or_else(|| option(record, "model").unwrap_or_else(|| "–".into()), |model| model.name.clone()),
            bits: bits(record),
            asked_bits: asked_bits(record),
            format: made_format(record).map_or_else(|| asked_format.clone(), |made| with_threads(made, record)),
            batch: input.map(|input| input.batch),
            sequence_length: input.and_then(|input| input.sequence_length),
            implementation_type: record.implementation_type.map(|kind| kind.to_string()),
            adapter: record.adapter.as_ref().map(|a| if a.hardware { "hardware" } else { "software" }.to_owned()),
            start_ms: metrics.start_to_first_result_ms.map(|time| time.total),
            load_ms: metrics.initialization_time_ms.map(|time| time.total),
            first_ms: metrics.first_inference_time_ms,
            p50_ms: times.map(|times| times.p50),
            p90_ms: times.map(|times| times.p90),
            min_ms: times.map(|times| times.min),
            runs: times.map(|times| times.runs),
            gpu_ms: metrics.gpu_time_ms.map(|times| times.p50),
            ratio: metrics.engine_ratio,
            weights_bytes: memory.weights_bytes,
            gpu_peak_bytes: memory.gpu_peak_bytes,
            wasm_heap_bytes: memory.wasm_heap_bytes,
            browser_rss_bytes: memory.browser_rss_bytes,
            browser_pss_bytes: memory.browser_pss_bytes,
            cosine: metrics.quantization_error.map(|error| error.cosine),
            notes: notes(record),
            asked_format,
            machine: machine(&record.run.host),
            adapter_names: record.adapter.as_ref().map(adapter_names),
        }
    }

    /// What is measured, whatever came of it: rows of two reports that agree in this are compared.
    pub fn key(&self) -> String {
        // One that was to be started by its binary, and was not, is known by that: the system's own is another.
        let by_binary = self.browser.split_once(" (").map(|(_, binary)| binary.trim_end_matches(')'));
        let browser = by_binary.or(self.browser.split(' ').next()).unwrap_or_default();
        let bits = self.asked_bits.as_ref().unwrap_or(&self.bits);
        let format = if self.asked_format.is_empty() { String::new() } else { format!(" ({})", self.asked_format) };
        let input = (self.batch.unwrap_or(0), self.sequence_length.unwrap_or(0));
        let what = format!("{} {} {}", self.platform, self.engine, self.model);
        format!("{browser} {what} {bits} bits{format} {}×{}", input.0, input.1)
    }

    /// Who measured what, for the legend of a chart.
    pub fn series(&self) -> String {
        let engine = if self.engine == "native" { String::new() } else { format!(", {}", self.engine) };
        let software = if self.adapter.as_deref() == Some("software") { ", software" } else { "" };
        format!("{} {}{engine}{software}", self.browser, self.platform)
    }

    /// Whether the platform itself ran.
    pub fn is_real(&self) -> bool {
        self.p50_ms.is_some() && self.implementation_type.as_ref().is_some_and(|kind| kind.starts_with("REAL"))
    }
}

/// When, where and by which version rows were measured.
fn about(run: &RunInfo) -> String {
    format!("{} · {} · webnibble {}", run.timestamp, machine(&run.host), run.revision)
}

/// What tells machines apart.
pub(crate) fn machine(host: &HostInfo) -> String {
    format!("{}, {} cores, {}", host.cpu.as_deref().unwrap_or("processor not told"), host.cores, host.os)
}

/// What tells adapters apart. Features and limits are the browser's too, and change with its version.
fn adapter_names(adapter: &Adapter) -> String {
    let Adapter { vendor, architecture, device, description, hardware, .. } = adapter;
    format!("{vendor} {architecture} {device} {description} {hardware}")
}

/// Name and major version, or what was to be started.
fn browser(record: &RunRecord) -> String {
    if let Some(browser) = &record.browser {
        // WebKitGTK's driver tells the name of its shell, and its first number never changes.
        let (name, parts) = if browser.name == "MiniBrowser" { ("webkit", 2) } else { (browser.name.as_str(), 1) };
        let version: Vec<_> = browser.version.split('.').take(parts).collect();
        return format!("{name} {}", version.join("."));
    }
    let name = option(record, "browser").unwrap_or_else(|| "–".into());
    match option(record, "browser_binary") {
        Some(path) => format!("{name} ({})", path.rsplit(['/', '\\']).next().unwrap_or(&path)),
        None => name,
    }
}

/// An option that is a text.
fn option(record: &RunRecord, name: &str) -> Option<String> {
    record.options.get(name).and_then(|option| option.value.as_str().map(str::to_owned))
}

fn bits(record: &RunRecord) -> String {
    let Some(weights) = record.performance_metrics.quantization_bits else { return "–".into() };
    let made = record.quantization.as_ref().map(|made| u64::from(u8::from(made.activation_bits)));
    let asked = || record.options.get("activation_bits").and_then(|option| option.value.as_u64());
    match made.or_else(asked) {
        Some(activations @ 1..=8) => format!("{weights}/{activations}"),
        _ => weights.to_string(),
    }
}

/// The bits that the platform, or the engine, did not take; and where nothing is known of the bits that ran, as of an ONNX file that
/// somebody else made, those that the file was chosen by.
fn asked_bits(record: &RunRecord) -> Option<String> {
    let not_taken = record.fallbacks.iter().find_map(|step| step.from.strip_prefix("bits ").map(str::to_owned));
    let unknown = record.performance_metrics.quantization_bits.is_none();
    let chosen_by = || Some(record.options.get("bits").filter(|_| unknown)?.value.as_u64()?.to_string());
    // Activations in int8 go with weights of 8 bits alone.
    let floats = || record.fallbacks.iter().any(|step| step.from == "activation_bits 8").then(|| "8/8".to_owned());
    not_taken.or_else(floats).or_else(chosen_by)
}

/// Groups and attention, as the package has them.
fn made_format(record: &RunRecord) -> Option<String> {
    let made = record.quantization.as_ref()?;
    if !made.bits.is_integer() {
        return Some(String::new());
    }
    let granularity = made.group_size.map_or_else(|| made.granularity.clone(), |size| format!("g{size}"));
    let attention = if made.mixed_precision { format!(", attention {}", made.attention_bits) } else { String::new() };
    Some(granularity + attention.as_str())
}

fn with_threads(made: String, record: &RunRecord) -> String {
    let parts = [Some(made).filter(|made| !made.is_empty()), threads(record)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Scheme, groups, attention and threads, as far as they were chosen.
fn asked_format(record: &RunRecord) -> String {
    let scheme = chosen(record, "scheme").and_then(serde_json::Value::as_str).map(str::to_owned);
    let group = match chosen(record, "group_size").and_then(serde_json::Value::as_u64) {
        Some(size) => Some(format!("g{size}")),
        None => chosen(record, "granularity").and_then(serde_json::Value::as_str).map(str::to_owned),
    };
    let mixed = chosen(record, "mixed_precision").and_then(serde_json::Value::as_bool);
    let mixed = mixed.map(|mixed| if mixed { "mixed" } else { "not mixed" }.to_owned());
    // What activations in int8 bring with them nobody chose.
    let int8 = chosen(record, "activation_bits").and_then(serde_json::Value::as_u64) == Some(8);
    let format = if int8 { [None, None, None] } else { [scheme, group, mixed] };
    let parts = format.into_iter().chain([asked_threads(record)]);
    parts.flatten().collect::<Vec<_>>().join(", ")
}

/// Threads, or on WebNN parts, that were asked for.
fn asked_threads(record: &RunRecord) -> Option<String> {
    let asked = chosen(record, "threads").and_then(serde_json::Value::as_u64)?;
    Some(format!("{} {asked}", threads_word(record.platform)?))
}

/// Threads, or on WebNN parts, that ran where a number was asked for; what was asked besides, where it is another.
fn threads(record: &RunRecord) -> Option<String> {
    let asked = chosen(record, "threads").and_then(serde_json::Value::as_u64)?;
    let word = threads_word(record.platform)?;
    let made = match record.platform {
        Platform::Webnn => record.webnn.as_ref().and_then(|webnn| webnn.parallel_parts).map(|parts| parts as u64),
        _ => record.kernels.as_ref().and_then(|kernels| kernels.get("threads")?.parse().ok()),
    };
    match made {
        Some(made) if made != asked => Some(format!("{word} {made} (asked {asked})")),
        _ => Some(format!("{word} {asked}")),
    }
}

fn threads_word(platform: Platform) -> Option<&'static str> {
    match platform {
        Platform::Wasm => Some("threads"),
        Platform::Webnn => Some("parts"),
        Platform::Webgpu | Platform::Auto => None,
    }
}

/// The value of an option that somebody chose.
fn chosen<'a>(record: &'a RunRecord, name: &str) -> Option<&'a serde_json::Value> {
    let option = record.options.get(name).filter(|option| option.source == Source::Explicit);
    option.map(|option| &option.value)
}

fn notes(record: &RunRecord) -> Vec<String> {
    let steps = record.fallbacks.iter().map(|step| format!("{} → {}: {}", step.from, step.to, step.reason));
    let error = record.error.iter().map(|error| error.message.clone());
    steps.chain(error).chain(reasons_for_doubt(record)).collect()
}

/// Why the times of a row say little.
fn reasons_for_doubt(record: &RunRecord) -> impl Iterator<Item = String> + use<> {
    let metrics = &record.performance_metrics;
    let restless = metrics.warmup.is_some_and(|warmup| warmup.steady == Some(false));
    let wide = metrics.inference_time_ms.or(metrics.cpu_time_ms).is_some_and(Times::spread_widely);
    let restless = restless.then(|| "its times were not steady yet when warming up ended".to_owned());
    let wide =
        wide.then(|| "its times spread widely: the 90th percentile is more than 25 % over the median".to_owned());
    restless.into_iter().chain(wide)
}

/// The models of some rows and the sizes of their inputs, for a report whose title is not known.
pub fn title_of(records: &[RunRecord]) -> String {
    let rows: Vec<ReportRow> = records.iter().map(ReportRow::of).collect();
    let list = |of: &dyn Fn(&ReportRow) -> Option<String>| {
        let mut values: Vec<String> = rows.iter().filter_map(of).collect();
        let mut seen = std::collections::HashSet::new();
        values.retain(|value| seen.insert(value.clone()));
        values.join(", ")
    };
    let count = |number: Option<usize>| number.map(|number| number.to_string());
    format!(
        "{}, {} tokens, batch {}",
        list(&|row| Some(row.model.clone())),
        list(&|row| count(row.sequence_length)),
        list(&|row| count(row.batch))
    )
}

/// A time as a table shows it.
fn ms(time: Option<f64>) -> String {
    match time {
        None => "–".into(),
        Some(time) if time >= 100.0 => format!("{time:.0}"),
        Some(time) if time >= 10.0 => format!("{time:.1}"),
        Some(time) => format!("{time:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use webnibble_common::record::{Fallback, OptionValue};

    use super::testing::{failed, ran};
    use super::*;

    fn with_option(mut record: RunRecord, name: &str, value: serde_json::Value) -> RunRecord {
        record.options.insert(name.into(), OptionValue { value, source: Source::Explicit });
        record
    }

    #[test]
    fn a_browser_that_did_not_start_is_not_paired_with_another() {
        let refused = with_option(failed("chrome", 4), "browser", "chrome".into());
        let mut shell = with_option(refused, "browser_binary", "/tools/chrome-headless-shell".into());
        shell.browser = None;
        assert_ne!(ReportRow::of(&shell).key(), ReportRow::of(&ran("chrome", 4, 1.0)).key());
        assert_eq!(ReportRow::of(&shell).key(), ReportRow::of(&ran("chrome-headless-shell", 4, 1.0)).key());
    }

    #[test]
    fn rows_of_other_formats_are_told_apart() {
        let of = |group: usize, mixed: bool| {
            let mut record = ran("chrome", 4, 1.0);
            let made = record.quantization.as_mut().unwrap();
            (made.group_size, made.mixed_precision) = (Some(group), mixed);
            ReportRow::of(&with_option(
                with_option(record, "group_size", group.into()),
                "mixed_precision",
                mixed.into(),
            ))
        };
        assert_eq!((of(32, true).format.as_str(), of(128, false).format.as_str()), ("g32, attention 8", "g128"));
        assert!(of(32, true).key().contains("4 bits (g32, mixed)"), "{}", of(32, true).key());
        assert_ne!(of(32, true).key(), of(128, true).key());
        // What a profile chose does not keep two reports from being compared.
        assert!(
            ReportRow::of(&ran("chrome", 4, 1.0)).key().contains("4 bits 1×"),
            "{}",
            ReportRow::of(&ran("chrome", 4, 1.0)).key()
        );
    }

    #[test]
    fn threads_are_in_the_name_of_a_row_and_in_its_format() {
        let of = |platform: Platform, threads: u32| {
            let mut record = with_option(ran("chrome", 8, 1.0), "threads", threads.into());
            record.platform = platform;
            record.kernels = Some([("threads".to_owned(), "2".to_owned())].into());
            if let Some(webnn) = &mut record.webnn {
                webnn.parallel_parts = Some(2);
            }
            ReportRow::of(&record)
        };
        assert!(of(Platform::Wasm, 2).key().contains("bits (threads 2)"), "{}", of(Platform::Wasm, 2).key());
        assert_ne!(of(Platform::Wasm, 1).key(), of(Platform::Wasm, 2).key());
        assert!(of(Platform::Wasm, 2).format.ends_with("threads 2"), "{}", of(Platform::Wasm, 2).format);
        assert!(of(Platform::Wasm, 4).format.ends_with("threads 2 (asked 4)"), "what ran is told");
        assert!(of(Platform::Webnn, 1).key().contains("(parts 1)"), "{}", of(Platform::Webnn, 1).key());
        assert_eq!(of(Platform::Webgpu, 2).key(), of(Platform::Webgpu, 4).key(), "a GPU has none");
    }

    #[test]
    fn a_row_that_did_not_run_is_compared_with_the_one_that_did() {
        let mut refused =
            with_option(with_option(failed("chrome", 4), "browser", "chrome".into()), "model", "m".into());
        let ran = ReportRow::of(&ran("chrome", 4, 1.0));
        refused
            .options
            .insert("model".into(), OptionValue { value: ran.model.clone().into(), source: Source::Explicit });
        (refused.browser, refused.model, refused.quantization) = (None, None, None);
        assert_eq!(ReportRow::of(&refused).key(), ran.key());
        let binary = with_option(refused, "browser_binary", "/opt/odd-shell".into());
        assert_eq!(ReportRow::of(&binary).browser, "chrome (odd-shell)");
    }

    #[test]
    fn bits_that_a_platform_did_not_take_are_named() {
        let mut record = ran("chrome", 8, 1.0);
        let step = Fallback { from: "bits 4".into(), to: "bits 8".into(), code: "c".into(), reason: "r".into() };
        record.fallbacks.push(step);
        let row = ReportRow::of(&record);
        assert_eq!((row.bits.as_str(), row.asked_bits.as_deref()), ("8", Some("4")));
        assert!(row.key().contains("4 bits"), "{}", row.key());
        let record = &mut ran("chrome", 8, 1.0);
        let (from, to) = ("activation_bits 8".into(), "activation_bits 32".into());
        record.fallbacks.push(Fallback { from, to, code: "c".into(), reason: "r".into() });
        assert_eq!(ReportRow::of(record).asked_bits.as_deref(), Some("8/8"));
    }

    #[test]
    fn times_that_say_little_are_marked() {
        let with = |p90: f64, steady: Option<bool>| {
            let mut record = ran("chrome", 4, 4.0);
            let metrics = &mut record.performance_metrics;
            metrics.inference_time_ms.as_mut().unwrap().p90 = p90;
            metrics.warmup.as_mut().unwrap().steady = steady;
            ReportRow::of(&record).notes
        };
        assert!(with(4.9, Some(true)).is_empty() && with(4.9, None).is_empty());
        assert!(with(5.1, Some(true))[0].contains("spread widely"));
        assert!(with(4.9, Some(false))[0].contains("not steady"));
    }

    #[test]
    fn an_onnx_file_of_unknown_bits_is_paired_by_those_it_was_chosen_by() {
        let of = |asked: u8| {
            let mut record = with_option(ran("chrome", 4, 1.0), "bits", asked.into());
            (record.quantization, record.performance_metrics.quantization_bits) = (None, None);
            ReportRow::of(&record)
        };
        assert_eq!((of(4).bits.as_str(), of(4).asked_bits.as_deref()), ("–", Some("4")));
        assert_ne!(of(4).key(), of(8).key());
    }
}
