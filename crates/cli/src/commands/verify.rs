//! `webnibble verify`: does the real path work here, and in which browsers.

use std::process::ExitCode;

use webnibble_common::options::Platform;
use webnibble_common::record::{ErrorInfo, ImplementationType};
use webnibble_host::browsers::{browsers_for, webnn_browser_missing};
use webnibble_host::verify::{Verification, VerifyRequest, verify};

use super::defaults::typed_or;
use super::{failed, tell};
use crate::args::{VerifyArgs, each_once};
use crate::print;
use crate::progress::Bar;

/// Succeeds when some platform ran for real, and none that ran gave a wrong answer.
pub(crate) async fn run(args: VerifyArgs, json: bool, verbose: bool) -> ExitCode {
    let named = args.launch.kinds();
    let browsers = browsers_for(&named, &args.launch.options());
    let platforms = typed_or(&each_once(&args.platform), &[Platform::Webgpu, Platform::Webnn, Platform::Wasm]);
    let request = VerifyRequest { browsers, platforms, settings: args.settings(), verbose };
    let bar = Bar::new(!json && !verbose);
    bar.step("starting browsers");
    let rows = verify(&request, |row| bar.step(&format!("{} on {} is done", row.platform, row.name))).await;
    bar.clear();
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => return failed(&error, json),
    };
    if json {
        print::json(&rows);
    } else {
        print_rows(&rows);
    }
    let real = |row: &Verification| row.implementation_type == Some(ImplementationType::RealWebnn);
    if request.browsers.len() > 1
        && named.is_empty()
        && request.platforms.contains(&Platform::Webnn)
        && !rows.iter().any(real)
    {
        webnn_browser_missing().iter().for_each(|text| tell(text, json));
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
            row.name.clone(),
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
        let of = row.info.as_ref().map_or_else(|| row.name.clone(), |_| format!("{} {}", row.name, row.platform));
        let line = row.error.as_ref().map(|error| explained(&of, error));
        if let Some(line) = line.filter(|line| !told.contains(line)) {
            print::line(&line);
            told.push(line);
        }
    }
}

/// What failed, and what to do about it.
fn explained(of: &str, error: &ErrorInfo) -> String {
    match error.hint.as_str() {
        "" => format!("{of}: {}", error.message),
        hint => format!("{of}: {}\n  {hint}", error.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_stands_below_what_failed() {
        let error = |hint: &str| ErrorInfo { code: "c".into(), message: "no".into(), hint: hint.into() };
        assert_eq!(explained("firefox webnn", &error("do this")), "firefox webnn: no\n  do this");
        assert_eq!(explained("firefox webnn", &error("")), "firefox webnn: no");
    }
}
