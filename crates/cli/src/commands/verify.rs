//! `webnibble verify`: does the real path work here, and in which browsers.

use std::process::ExitCode;

use webnibble_common::options::{BrowserKind, Platform};
use webnibble_host::doctor::possible;
use webnibble_host::verify::{Verification, VerifyRequest, verify};

use crate::args::VerifyArgs;
use crate::print;
use crate::progress::Bar;

/// Succeeds when some platform ran for real, and none that ran gave a wrong answer.
pub(crate) async fn run(args: VerifyArgs, json: bool, verbose: bool) -> ExitCode {
    let launch = args.launch.options();
    let named = launch.browser_binary.is_some() || launch.driver.is_some();
    let browsers = match launch.browser {
        Some(kind) => vec![kind],
        None if named => vec![BrowserKind::Chrome],
        None => possible().collect(),
    };
    let every = || vec![Platform::Webgpu, Platform::Webnn, Platform::Wasm];
    let platforms = args.platform.map_or_else(every, |platforms| platforms.0);
    let request = VerifyRequest { browsers, platforms, bits: args.bits, launch, verbose };
    let bar = Bar::new(!json && !verbose);
    bar.step("starting browsers");
    let rows = verify(&request, |row| bar.step(&format!("{} on {} is done", row.platform, row.browser))).await;
    bar.clear();
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => {
            print::error(&error.info());
            return ExitCode::FAILURE;
        }
    };
    if json {
        print::json(&rows);
    } else {
        print_rows(&rows);
    }
    let wrong = rows.iter().any(|row| row.error.as_ref().is_some_and(|error| error.code == "wrong_answer"));
    if !wrong && rows.iter().any(|row| row.works) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_rows(rows: &[Verification]) {
    let cells = |row: &Verification| {
        let ran = match (row.works, row.implementation_type) {
            (_, None) => "did not run".to_owned(),
            (true, Some(kind)) => kind.to_string(),
            (false, Some(kind)) => format!("{kind}, wrong"),
        };
        let on = match row.hardware {
            Some(true) => "hardware",
            Some(false) => "software",
            None => "-",
        };
        vec![
            row.browser.to_string(),
            row.platform.to_string(),
            row.bits.to_string(),
            ran,
            on.to_owned(),
            row.times_ms.map_or("-".into(), |times| format!("{:.2}", times.p50)),
            row.cosine.map_or("-".into(), |cosine| format!("{cosine:.6}")),
        ]
    };
    let cells: Vec<_> = rows.iter().map(cells).collect();
    print::line(print::table(&["browser", "platform", "bits", "ran as", "adapter", "ms p50", "cosine"], &cells));
    // What keeps a browser from starting is the same for all its platforms.
    let mut told = Vec::new();
    for row in rows {
        let of =
            row.info.as_ref().map_or_else(|| row.browser.to_string(), |_| format!("{} {}", row.browser, row.platform));
        let line = row.error.as_ref().map(|error| format!("{of}: {}", error.message));
        if let Some(line) = line.filter(|line| !told.contains(line)) {
            print::line(&line);
            told.push(line);
        }
    }
}
