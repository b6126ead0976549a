//! `webnibble serve`: serves the page, prints its URL, waits for browsers.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use webnibble_host::HostError;
use webnibble_host::assets::Assets;
use webnibble_host::server::Server;
use webnibble_host::session::{Session, SessionConfig};

use super::failed;
use crate::args::ServeArgs;
use crate::print;

/// Runs until it is stopped. Each URL lets one page in; the next is printed when it was used.
pub(crate) async fn run(args: ServeArgs, json: bool) -> ExitCode {
    match serve(args, json).await {
        Ok(never) => match never {},
        Err(error) => failed(&error, json),
    }
}

async fn serve(args: ServeArgs, json: bool) -> Result<std::convert::Infallible, HostError> {
    let server = Server::start(args.addr, Assets::find()?, args.advertise.as_deref()).await?;
    loop {
        let session = Session::open(&server, SessionConfig::default());
        if json {
            print::json(&json!({ "url": session.page_url() }));
        } else {
            print::line(session.page_url());
        }
        // A page that comes in keeps its session for as long as it stays.
        while session.capabilities(Duration::from_secs(3600)).await.is_none() {}
        tokio::spawn(async move {
            match session.capabilities(Duration::ZERO).await {
                Some(Ok(found)) => tracing::warn!("a page came in: {}", found.user_agent),
                Some(Err(error)) => tracing::warn!("a page failed: {error}"),
                None => {}
            }
            let error = session.ended().await;
            tracing::warn!("a page left: {error}");
        });
    }
}
