//! `webnibble drivers install`: sees to it that each browser here has a driver that fits.

use std::process::ExitCode;

use webnibble_common::options::BrowserKind;
use webnibble_host::browsers::possible;
use webnibble_host::drivers::{DriverReport, DriverStatus, install};

use crate::args::{DriversArgs, DriversCommand};
use crate::print;
use crate::progress::Bar;

/// Succeeds when every browser that was named, or else every one that is here, has its driver.
pub(crate) async fn run(args: DriversArgs, json: bool, verbose: bool) -> ExitCode {
    let DriversCommand::Install { browser: named, dry_run } = args.command;
    let kinds: Vec<BrowserKind> = if named.is_empty() { possible().collect() } else { named.clone() };
    let bar = Bar::new(!json && !verbose);
    let mut reports = Vec::new();
    for kind in kinds {
        bar.step(&format!("looking at {kind}"));
        reports.push(install(kind, dry_run, &mut |step| bar.step(step)).await);
    }
    bar.clear();
    if json {
        print::json(&reports);
    } else {
        print_reports(&reports);
    }
    let lacks = |report: &DriverReport| match report.status {
        DriverStatus::Failed => true,
        DriverStatus::NoBrowser => !named.is_empty(),
        DriverStatus::Ready | DriverStatus::Installed | DriverStatus::Planned => false,
    };
    if reports.iter().any(lacks) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn print_reports(reports: &[DriverReport]) {
    let rows: Vec<_> = reports.iter().map(row).collect();
    print::line(print::table(&["browser", "version", "driver", "result"], &rows));
    for report in reports {
        for failed in &report.failed {
            print::message(&format!("{}: {}: {}", report.browser, failed.route, failed.reason));
        }
        if let Some(error) = &report.error {
            print::message(&format!("{}: {}\n  {}", report.browser, error.message, error.hint));
        }
    }
}

fn row(report: &DriverReport) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let route = report.route.as_deref().unwrap_or_default();
    let result = match report.status {
        DriverStatus::Ready => "fits".to_owned(),
        DriverStatus::Installed => format!("installed: {route}"),
        DriverStatus::Planned => format!("would be installed: {route}"),
        DriverStatus::NoBrowser => "no browser".to_owned(),
        DriverStatus::Failed => "failed".to_owned(),
    };
    let driver = match (&report.driver_version, &report.driver) {
        (None, Some(path)) => path.display().to_string(),
        (version, _) => or_dash(version),
    };
    vec![report.browser.to_string(), or_dash(&report.version), driver, result]
}
