//! The HTTP server: the pages, the packages, and the socket to a page's agent.
//!
//! Bound to loopback unless told otherwise. There are two pages: one that the host drives, and one for people, which has no
//! session and needs none ([`Server::offer`]). The driven one gets in with a one-time token that stands in its URL
//! ([`Session::page_url`](crate::session::Session::page_url)); after that it has a resume key. Nothing is served that was not listed: the page's files are read
//! from a fixed list, packages from those that were published.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use webnibble_common::quant::Bits;

use crate::assets::Assets;
use crate::error::HostError;
use crate::loader::PackageFile;
use crate::onnx::OnnxFolder;

mod connections;
mod files;
mod invitation;
mod offered;
mod page;
mod playground;
mod registry;
mod shared;
mod socket;

use connections::ClientLimits;
pub(crate) use invitation::Invitation;
pub use offered::Offered;
pub(crate) use page::{Connection, PageEvent};
use shared::{Shared, lock};

/// Where a server listens unless told otherwise: on loopback, at a free port.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A running server. Stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens on `address` and serves `assets`. A page on another machine that reaches this one by the name `advertise`
    /// may connect too.
    ///
    /// # Errors
    /// [`HostError::Bind`] when the address cannot be listened on.
    pub async fn start(address: SocketAddr, assets: Assets, advertise: Option<&str>) -> Result<Self, HostError> {
        Self::start_within(ClientLimits::default(), address, assets, advertise).await
    }

    /// The same with other limits for its clients.
    async fn start_within(
        limits: ClientLimits,
        address: SocketAddr,
        assets: Assets,
        advertise: Option<&str>,
    ) -> Result<Self, HostError> {
        let bind_error = |source| HostError::Bind { address: address.to_string(), source };
        let listener = TcpListener::bind(address).await.map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        let hosts = host_names(address, advertise);
        let shared = Arc::new(Shared {
            assets,
            packages: Mutex::default(),
            folders: Mutex::default(),
            offered: Mutex::default(),
            registry: Mutex::default(),
            advertised: advertise.map(|name| format!("{name}:{}", address.port())),
            origins: hosts.iter().map(|host| format!("http://{host}")).collect(),
            content_security_policy: files::content_security_policy(&hosts, files::PAGE_SCRIPTS),
            worker_policy: files::content_security_policy(&hosts, files::WORKER_SCRIPTS),
        });
        let task = tokio::spawn(connections::serve(listener, router(Arc::clone(&shared)), limits));
        tracing::debug!("serving on http://{address}");
        Ok(Self { address, shared, task })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Offers the package at `path` under its `digest`, and returns its URL relative to the page.
    pub fn publish(&self, digest: &str, path: impl Into<PathBuf>) -> String {
        lock(&self.shared.packages).insert(digest.to_owned(), path.into());
        format!("/packages/{digest}.safetensors")
    }

    /// Offers the ONNX form of a model, and returns its URL relative to the page.
    pub fn publish_folder(&self, folder: OnnxFolder) -> String {
        let url = format!("/onnx/{}/", folder.digest);
        lock(&self.shared.folders).insert(folder.digest.clone(), Arc::new(folder));
        url
    }

    /// Publishes a package, and lets people choose it on the page at [`origin`](Self::origin). It is run with activations
    /// of `activation_bits`, on platforms that take that.
    pub fn offer(&self, package: &PackageFile, activation_bits: Bits) -> Offered {
        let url = self.publish(&package.header.digest, &package.path);
        playground::offer(&self.shared, package, activation_bits, url)
    }

    /// Origin of the pages: by the name that is advertised, else for a browser on this machine.
    pub fn origin(&self) -> String {
        let loopback = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.address.port());
        match &self.shared.advertised {
            Some(host) => format!("http://{host}"),
            None if self.address.ip().is_unspecified() => format!("http://{loopback}"),
            None => format!("http://{}", self.address),
        }
    }

    /// The URL of a page that may connect with `token`.
    pub(crate) fn page_url(&self, token: &str) -> String {
        format!("{}/?token={token}", self.origin())
    }

    /// Lets one page in, whose events go to `events`. It stays welcome until the invitation is dropped.
    pub(crate) fn invite(&self, events: UnboundedSender<PageEvent>) -> Invitation {
        invitation::invite(&self.shared, events)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Names by which a page may know this server, with the port.
fn host_names(address: SocketAddr, advertise: Option<&str>) -> Vec<String> {
    let port = address.port();
    let mut hosts = vec![format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}")];
    let own = address.to_string();
    if !address.ip().is_unspecified() && !hosts.contains(&own) {
        hosts.push(own);
    }
    hosts.extend(advertise.map(|name| format!("{name}:{port}")));
    hosts
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/agent", get(socket::upgrade))
        .route("/", get(playground::front))
        .route(playground::WORKER, get(playground::worker))
        .route("/packages", get(playground::list))
        .route("/packages/{file}", get(files::package))
        .route("/onnx/{digest}/{*file}", get(files::onnx))
        .fallback(get(files::asset))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&shared), files::add_headers))
        .with_state(shared)
}

#[cfg(test)]
mod tests;
