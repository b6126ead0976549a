//! `webnibble serve`: serves a page on which a person chooses a model and runs it, until it is stopped.

use std::convert::Infallible;
use std::process::ExitCode;

use serde_json::json;
use webnibble_host::HostError;
use webnibble_host::assets::Assets;
use webnibble_host::offer::{OfferRequest, offer};
use webnibble_host::server::{Offered, Server};

use super::failed;
use super::run::sink;
use crate::args::ServeArgs;
use crate::print;
use crate::progress::Bar;

/// Makes the models ready, prints the page's URL, and serves.
pub(crate) async fn run(args: ServeArgs, json: bool, verbose: bool) -> ExitCode {
    let bar = Bar::new(!json && !verbose);
    let served = serve(args, json, &bar).await;
    bar.clear();
    match served {
        Ok(never) => match never {},
        Err(error) => failed(&error, json),
    }
}

async fn serve(args: ServeArgs, json: bool, bar: &Bar) -> Result<Infallible, HostError> {
    // First: who cannot serve needs no models.
    let server = Server::start(args.addr, Assets::find()?, args.advertise.as_deref()).await?;
    let offered = offer(&server, &request(args, bar)).await?;
    bar.clear();
    let url = format!("{}/", server.origin());
    if json {
        print::json(&json!({ "url": url, "packages": offered }));
    } else {
        offered.iter().for_each(|package| print::message(&told(package)));
        if offered.is_empty() {
            print::message("no model is served: drop a package on the page, or name one with --model");
        }
        print::line(url);
    }
    std::future::pending().await
}

fn request(args: ServeArgs, bar: &Bar) -> OfferRequest {
    OfferRequest { models: args.model, bits: args.bits, settings: args.format.settings(), progress: Some(sink(bar)) }
}

fn told(package: &Offered) -> String {
    let bits = package.quantization.bits;
    format!("{}, {bits} bits, {}", package.name, print::megabytes(package.bytes))
}
