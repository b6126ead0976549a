//! The matrix: every combination of browsers, platforms, models, engines and bits, one browser session for all rows of a
//! browser. What cannot run is a row with its reason.

use std::collections::BTreeMap;
use std::path::PathBuf;

use webnibble_common::options::{BrowserKind, Engine, LaunchOptions, Options, Platform, Settings};
use webnibble_common::quant::Bits;
use webnibble_common::result::RunRecord;
use webnibble_common::wire::{ErrorCode, RunInput};

use crate::error::HostError;
use crate::host::Host;
use crate::loader::Model;
use crate::run::{Input, RunProgressSink, RunRequest, blocking, not_started, run_on};

/// What to measure.
#[derive(Clone)]
pub struct BenchRequest {
    /// Browsers, each as it is started.
    pub browsers: Vec<LaunchOptions>,
    /// Models, by name, folder or package.
    pub models: Vec<String>,
    /// Platforms.
    pub platforms: Vec<Platform>,
    /// Engines.
    pub engines: Vec<Engine>,
    /// Precisions.
    pub precisions: Vec<Precision>,
    /// Length of the input, one text; the ids are made up.
    pub tokens: usize,
    /// Options that all rows share.
    pub options: Options,
    /// Passes the browsers' output and their consoles on to the log.
    pub verbose: bool,
    /// Revision of this build, for the records.
    pub revision: String,
    /// Hears how far a row is.
    pub progress: Option<RunProgressSink>,
}

/// Bits of weights, and of activations where these are quantized too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Precision {
    /// Of the linear weights.
    pub bits: Bits,
    /// 8, or 32 for floats.
    pub activation_bits: Bits,
}

impl Precision {
    /// Weights alone.
    pub const fn weights(bits: Bits) -> Self {
        Self { bits, activation_bits: Bits::B32 }
    }
}

/// One row that is to be measured.
struct Cell<'a> {
    model: &'a str,
    platform: Platform,
    engine: Engine,
    precision: Precision,
}

impl BenchRequest {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.browsers.len() * self.cells().count()
    }

    fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        let rows = self.models.iter().flat_map(move |model| {
            self.platforms.iter().flat_map(move |platform| {
                let engines = self.engines.iter().map(move |engine| (model, *platform, *engine));
                engines.flat_map(move |(model, platform, engine)| {
                    let cell = move |precision: &Precision| Cell { model, platform, engine, precision: *precision };
                    self.precisions.iter().map(cell)
                })
            })
        });
        // Activations are quantized by our WebNN graphs alone: elsewhere the row would be one that is there already.
        rows.filter(|cell| {
            cell.precision.activation_bits == Bits::B32
                || (cell.platform == Platform::Webnn && cell.engine == Engine::Native)
        })
    }

    fn run_request(&self, cell: &Cell<'_>, launch: &LaunchOptions, input: &RunInput) -> RunRequest {
        let activations = (cell.precision.activation_bits != Bits::B32).then_some(cell.precision.activation_bits);
        let settings =
            Settings { bits: Some(cell.precision.bits), activation_bits: activations, ..self.options.settings.clone() };
        let options = Options {
            platform: Some(cell.platform),
            engine: Some(cell.engine),
            settings,
            launch: launch.clone(),
            ..self.options.clone()
        };
        RunRequest {
            model: cell.model.to_owned(),
            options,
            input: Input::Given(input.clone()),
            verbose: self.verbose,
            revision: self.revision.clone(),
            progress: self.progress.clone(),
        }
    }
}

/// Measures every row; `on_row` hears of each as it is done. A browser that dies is started anew for the next row.
pub async fn bench(request: &BenchRequest, mut on_row: impl FnMut(&RunRecord)) -> Vec<RunRecord> {
    let mut records = Vec::new();
    let mut inputs = BTreeMap::new();
    for model in &request.models {
        inputs.insert(model.as_str(), input_of(model.clone(), request.tokens).await);
    }
    for launch in &request.browsers {
        let mut session = Session { launch, verbose: request.verbose, host: None, failed: None };
        for cell in request.cells() {
            let run = request.run_request(&cell, launch, &inputs[cell.model]);
            let record = session.run(run).await;
            on_row(&record);
            records.push(record);
        }
        session.end().await;
    }
    records
}

/// Ids that the model's vocabulary has. A model that cannot be read says why in its rows.
async fn input_of(model: String, tokens: usize) -> RunInput {
    let found = blocking(move || {
        let model = Model::load(&model, &mut |_| {})?;
        Ok(crate::versus::input(&model, tokens))
    });
    found.await.unwrap_or(RunInput::Ids { ids: vec![vec![0; tokens]] })
}

/// One browser, started when the first row needs it.
struct Session<'a> {
    launch: &'a LaunchOptions,
    verbose: bool,
    host: Option<Host>,
    /// Why it cannot be started: it is not tried again.
    failed: Option<HostError>,
}

impl Session<'_> {
    async fn run(&mut self, request: RunRequest) -> RunRecord {
        if self.host.is_none() && self.failed.is_none() {
            match Host::builder().launch(self.launch.clone()).verbose(self.verbose).start().await {
                Ok(host) => self.host = Some(host),
                Err(error) => self.failed = Some(error),
            }
        }
        let host = match (&self.host, &self.failed) {
            (Some(host), _) => host,
            (None, Some(error)) => return not_started(&request, error),
            (None, None) => unreachable!("a browser starts or fails to"),
        };
        let record = run_on(host, request).await;
        let gone = record.error.as_ref().is_some_and(|error| error.code == ErrorCode::Disconnected.name());
        if gone && let Some(host) = self.host.take() {
            host.shutdown().await;
        }
        record
    }

    async fn end(self) {
        if let Some(host) = self.host {
            host.shutdown().await;
        }
    }
}

/// The browsers of this system, and the one with WebNN that was fetched beside them, each as it is started.
pub fn browsers_here(launch: &LaunchOptions) -> Vec<LaunchOptions> {
    let of = |kind: BrowserKind| LaunchOptions { browser: Some(kind), ..launch.clone() };
    let mut browsers: Vec<_> = crate::doctor::possible().map(of).collect();
    if let Some(binary) = webnn_browser() {
        let driver = launch.driver.clone().or_else(|| Some("chromedriver".into()));
        let binary = Some(binary.display().to_string());
        browsers.insert(1, LaunchOptions { browser_binary: binary, driver, ..of(BrowserKind::Chrome) });
    }
    browsers
}

/// The browser that `scripts/fetch-webnn-browser.sh` fetches, or that `$WEBNIBBLE_WEBNN_BROWSER` names.
fn webnn_browser() -> Option<PathBuf> {
    let named = std::env::var_os("WEBNIBBLE_WEBNN_BROWSER").filter(|path| !path.is_empty()).map(PathBuf::from);
    let fetched = || {
        let folders = std::fs::read_dir(crate::loader::cache_dir().join("browsers")).ok()?;
        let binaries = folders.flatten().map(|folder| folder.path().join("chrome-headless-shell"));
        binaries.into_iter().filter(|binary| binary.is_file()).max()
    };
    named.or_else(fetched)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> BenchRequest {
        BenchRequest {
            browsers: vec![LaunchOptions::default(), LaunchOptions::default()],
            models: vec!["m".into()],
            platforms: vec![Platform::Webgpu, Platform::Webnn],
            engines: vec![Engine::Native, Engine::TransformersJs],
            precisions: vec![Precision::weights(Bits::B8), Precision { bits: Bits::B8, activation_bits: Bits::B8 }],
            tokens: 2,
            options: Options::default(),
            verbose: false,
            revision: String::new(),
            progress: None,
        }
    }

    #[test]
    fn int8_activations_are_a_row_of_our_webnn_alone() {
        let request = request();
        let cells: Vec<_> = request.cells().map(|cell| (cell.platform, cell.engine, cell.precision)).collect();
        let quantized: Vec<_> = cells.iter().filter(|(.., one)| one.activation_bits == Bits::B8).collect();
        assert_eq!(quantized.len(), 1);
        assert_eq!((quantized[0].0, quantized[0].1), (Platform::Webnn, Engine::Native));
        assert_eq!((cells.len(), request.rows()), (5, 10));
    }

    #[tokio::test]
    async fn a_browser_that_does_not_start_is_rows_with_its_reason() {
        let missing = LaunchOptions { browser_binary: Some("/no/such/browser".into()), ..LaunchOptions::default() };
        let request = BenchRequest { browsers: vec![missing], ..request() };
        let mut heard = 0;
        let records = bench(&request, |_| heard += 1).await;
        assert_eq!((records.len(), heard), (5, 5));
        for record in records {
            assert_eq!(record.error.unwrap().code, "browser_not_found");
            assert_eq!((record.implementation_type, record.browser), (None, None));
        }
    }
}
