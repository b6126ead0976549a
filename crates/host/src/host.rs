//! A browser that runs models: server, browser and session in one.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use webnibble_common::capabilities::Capabilities;
use webnibble_common::io::Input;
use webnibble_common::options::{Engine, LaunchOptions};
use webnibble_common::record::BrowserInfo;
use webnibble_common::wire::{ErrorCode, LoadOptions, LoadReport, RemoteError, RunOptions};

use crate::assets::Assets;
use crate::browser::{Browser, BrowserConfig, BrowserMemory};
use crate::error::HostError;
use crate::onnx::OnnxFolder;
use crate::server::{DEFAULT_ADDRESS, Server};
use crate::session::{PartSink, ProgressSink, RunOutcome, Session, SessionConfig};
use crate::task::ms_since;

/// How long the page may take from being opened to telling what it can do. Most of it is the adapter's.
const READY_LIMIT: Duration = Duration::from_secs(45);

/// How long the session's orderly end may take.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(2);

/// What to start; see [`Host::builder`].
pub struct HostBuilder {
    address: SocketAddr,
    assets: Option<Assets>,
    server: Option<Arc<Server>>,
    launch: LaunchOptions,
    verbose: bool,
    session: SessionConfig,
}

/// A browser with our page in it, ready to load models. Dropping it leaves no process and no file behind.
///
/// ```no_run
/// # async fn example() -> Result<(), webnibble_host::HostError> {
/// use webnibble_host::Host;
///
/// let host = Host::builder().start().await?;
/// println!("{:?}", host.capabilities().webgpu.adapter);
/// host.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Host {
    capabilities: Arc<Capabilities>,
    info: BrowserInfo,
    startup: Startup,
    // In the order in which they are dropped.
    tasks: Tasks,
    session: Session,
    /// The page's browser; `None` for a page that is in none, as in tests.
    browser: Option<Browser>,
    server: Arc<Server>,
}

/// What it took to start a [`Host`], in ms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Startup {
    /// Server, driver and browser, to an empty page.
    pub browser_ms: f64,
    /// The page, from being opened to having told what it can do.
    pub page_ms: f64,
}

/// Tasks that end with the host.
#[derive(Debug)]
struct Tasks(Vec<JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl HostBuilder {
    /// Listens on another address than loopback at a free port.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Serves these files instead of those that [`Assets::find`] finds.
    pub fn assets(mut self, assets: Assets) -> Self {
        self.assets = Some(assets);
        self
    }

    /// Serves the page from a server that runs already, in place of one of its own. Address, assets and the advertised
    /// name are then that server's.
    pub fn server(mut self, server: Arc<Server>) -> Self {
        self.server = Some(server);
        self
    }

    /// Which browser, and how it is started.
    pub fn launch(mut self, launch: LaunchOptions) -> Self {
        self.launch = launch;
        self
    }

    /// Passes the browser's output and its console on to the log.
    pub fn verbose(mut self, verbose: bool) -> Self {
        self.verbose = verbose;
        self
    }

    /// Is told how far requests are. Called from the session's task: it must not block.
    pub fn progress(mut self, progress: ProgressSink) -> Self {
        self.session.progress = Some(progress);
        self
    }

    /// Is told what requests generate, piece by piece. Called from the session's task: it must not block.
    pub fn parts(mut self, parts: PartSink) -> Self {
        self.session.parts = Some(parts);
        self
    }

    /// Starts server and browser, and waits until the page told what it can do.
    ///
    /// # Errors
    /// Names what is missing, or what was seen of the browser that did not get so far. Nothing is left behind then.
    pub async fn start(self) -> Result<Host, HostError> {
        let began = Instant::now();
        let server = match self.server {
            Some(server) => server,
            None => Arc::new(start_server(self.address, self.assets, &self.launch).await?),
        };
        let config = BrowserConfig { verbose: self.verbose, ..BrowserConfig::new(self.launch) };
        let session = Session::open(&server, self.session);
        let browser = Browser::start(&config, &server.origin()).await?;
        let mut tasks = Tasks(vec![browser.watch(session.browser_gone())]);
        if self.verbose {
            tasks.0.push(browser.follow_console());
        }
        let browser_ms = ms_since(began);
        browser.open(session.page_url()).await?;
        let capabilities = ready(&session, &browser).await?;
        let start_ms = ms_since(began);
        let info = BrowserInfo {
            name: browser.name.clone(),
            version: browser.version.clone(),
            headless: browser.headless,
            user_agent: capabilities.user_agent.clone(),
            start_ms,
        };
        tracing::debug!("{} {} is ready after {:.0} ms", info.name, info.version, info.start_ms);
        let startup = Startup { browser_ms, page_ms: start_ms - browser_ms };
        Ok(Host { capabilities, info, startup, tasks, session, browser: Some(browser), server })
    }
}

/// Starts a server for the pages of browsers that are started so.
///
/// # Errors
/// When the page's files are not there, or the address cannot be listened on.
pub(crate) async fn start_server(
    address: SocketAddr,
    assets: Option<Assets>,
    launch: &LaunchOptions,
) -> Result<Server, HostError> {
    let assets = match assets {
        Some(assets) => assets,
        None => Assets::find()?,
    };
    let advertise = launch.advertise.as_deref();
    // A name is for other machines, which loopback would keep out.
    let address = match advertise {
        Some(_) if address.ip().is_loopback() => (Ipv4Addr::UNSPECIFIED, address.port()).into(),
        _ => address,
    };
    Server::start(address, assets, advertise).await
}

/// The same error with the file's path on this machine, where the page knows only its URL.
fn with_path_named(mut error: RemoteError, url: &str, path: &Path) -> RemoteError {
    error.message = error.message.replace(url, &path.display().to_string());
    error
}

/// What the page can do, once it told.
async fn ready(session: &Session, browser: &Browser) -> Result<Arc<Capabilities>, HostError> {
    match session.capabilities(READY_LIMIT).await {
        Some(Ok(capabilities)) => Ok(capabilities),
        Some(Err(error)) => Err(HostError::Remote { error, console: browser.last_words().await }),
        None => Err(HostError::PageSilent {
            what: if session.is_connected() { "tell what it can do" } else { "connect" },
            waited_ms: READY_LIMIT.as_millis() as u64,
            console: browser.last_words().await,
        }),
    }
}

impl Host {
    /// What to start: Chromium without a window, serving on loopback, unless told otherwise.
    pub fn builder() -> HostBuilder {
        HostBuilder {
            address: DEFAULT_ADDRESS,
            assets: None,
            server: None,
            launch: LaunchOptions::default(),
            verbose: false,
            session: SessionConfig::default(),
        }
    }

    /// A page that told what it can do, in no browser.
    #[cfg(test)]
    pub(crate) fn without_browser(server: Arc<Server>, session: Session, capabilities: Arc<Capabilities>) -> Self {
        let name = "no browser".to_owned();
        let info =
            BrowserInfo { name, version: String::new(), headless: true, user_agent: String::new(), start_ms: 1.0 };
        let startup = Startup { browser_ms: 1.0, page_ms: 1.0 };
        Self { capabilities, info, startup, tasks: Tasks(Vec::new()), session, browser: None, server }
    }

    /// What the browser can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// The browser, for the record.
    pub fn info(&self) -> &BrowserInfo {
        &self.info
    }

    /// How long it took to be ready.
    pub fn startup(&self) -> Startup {
        self.startup
    }

    /// Memory of the browser's processes, where the system tells.
    pub fn browser_memory(&self) -> BrowserMemory {
        self.browser.as_ref().map(Browser::memory).unwrap_or_default()
    }

    /// The session, for requests that are to be cancelled or sent side by side.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Publishes the package at `path`, whose header has the `digest`, and loads it under the name `model`.
    ///
    /// # Errors
    /// What the page says, or that it is gone or late.
    pub async fn load(
        &self,
        model: &str,
        path: &Path,
        digest: &str,
        options: LoadOptions,
        limit: Duration,
    ) -> Result<LoadReport, HostError> {
        let url = self.server.publish(digest, path);
        let loaded = self.session.load(model, &url, digest, options, limit).wait().await;
        self.explain(loaded.map_err(|error| with_path_named(error, &url, path))).await
    }

    /// Publishes the ONNX form of a model, and has transformers.js load it under the name `model`.
    ///
    /// # Errors
    /// What the page says, or that it is gone or late.
    pub async fn load_onnx(
        &self,
        model: &str,
        folder: OnnxFolder,
        options: LoadOptions,
        limit: Duration,
    ) -> Result<LoadReport, HostError> {
        let digest = folder.digest.clone();
        let url = self.server.publish_folder(folder);
        let options = LoadOptions { engine: Engine::TransformersJs, ..options };
        let loaded = self.session.load(model, &url, &digest, options, limit).wait().await;
        self.explain(loaded).await
    }

    /// Runs a loaded model.
    ///
    /// # Errors
    /// What the page says, or that it is gone or late.
    pub async fn run(
        &self,
        model: &str,
        input: Input,
        options: RunOptions,
        limit: Duration,
    ) -> Result<RunOutcome, HostError> {
        let ran = self.session.run(model, input, options, limit).wait().await;
        self.explain(ran).await
    }

    /// Frees a model.
    ///
    /// # Errors
    /// What the page says, or that it is gone or late.
    pub async fn unload(&self, model: &str, limit: Duration) -> Result<(), HostError> {
        let unloaded = self.session.unload(model, limit).wait().await;
        self.explain(unloaded).await
    }

    /// Time of one round trip of a small message.
    ///
    /// # Errors
    /// When the page does not answer within `limit`.
    pub async fn ping(&self, limit: Duration) -> Result<Duration, HostError> {
        Ok(self.session.ping(limit).await?)
    }

    /// Adds the console to errors of a page that cannot say itself what happened to it.
    pub async fn explain<T>(&self, result: Result<T, RemoteError>) -> Result<T, HostError> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let unexplained = matches!(
            error.code,
            ErrorCode::Disconnected | ErrorCode::Internal | ErrorCode::DeviceLost | ErrorCode::Protocol
        );
        let console = match &self.browser {
            Some(browser) if unexplained => browser.last_words().await,
            _ => Vec::new(),
        };
        Err(HostError::Remote { error, console })
    }

    /// Ends session and browser in the orderly way.
    pub async fn shutdown(self) {
        let Self { tasks, session, browser, server, .. } = self;
        // A browser that ends now does so for a reason.
        drop(tasks);
        if tokio::time::timeout(SHUTDOWN_LIMIT, session.shutdown()).await.is_err() {
            tracing::debug!("the session did not end within {} s", SHUTDOWN_LIMIT.as_secs());
        }
        if let Some(browser) = browser {
            browser.quit().await;
        }
        drop(server);
    }
}
