//! The command line: parses, calls the host, prints.
//!
//! Exit status: 0 done, 1 the work failed, 2 wrong arguments, 3 the platform that was asked for was not available, or
//! could not keep a request, under `--no-fallback`; 128 and the signal's number where a signal ended it.

mod args;
mod commands;
mod print;
mod progress;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use webnibble_host::browser::check_named;

use args::{Cli, Command, with_texts_joined};

fn main() -> ExitCode {
    spare_this_machine();
    let cli = match Cli::try_parse_from(with_texts_joined(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    start_logging(cli.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        tokio::select! {
            // Dropping the command drops its browser, and with it everything that was started.
            code = run(cli) => code,
            signal = stop_signal() => {
                tracing::warn!("stopped by {}", signal.0);
                ExitCode::from(128 + signal.1)
            }
        }
    });
    // What still computes on other threads is not waited for.
    runtime.shutdown_background();
    code
}

/// Has the environment say that this machine is reached without a proxy. What the host asks itself knows that; but the hub's
/// client and the programs that install drivers take their proxy from the environment, and an address may be on loopback.
#[expect(unsafe_code, reason = "there is no other way to change the environment of libraries")]
fn spare_this_machine() {
    let told = ["NO_PROXY", "no_proxy"].map(|name| std::env::var(name).unwrap_or_default());
    let told = told.iter().map(|list| list.trim()).filter(|list| !list.is_empty());
    // Some programs know `*` only where it stands alone.
    if told.clone().any(|list| list == "*") {
        return;
    }
    let spared = told.chain(["localhost", "127.0.0.1", "::1", "[::1]"]).collect::<Vec<_>>().join(",");
    for name in ["NO_PROXY", "no_proxy"] {
        // SAFETY: no other thread was started yet that could read the environment meanwhile.
        unsafe { std::env::set_var(name, &spared) };
    }
}

/// Says what is wrong with what was typed, or prints the help that was asked for.
fn refused(error: &clap::Error) -> ExitCode {
    // Until it is parsed, nobody knows whether it is an option or an option's value: then there is a document too many.
    if error.use_stderr() && std::env::args().any(|arg| arg == "--json") {
        let rendered = error.render().to_string();
        let message = rendered.trim_start_matches("error: ").split("\n\nUsage:").next().unwrap_or_default();
        let message = message.split("\n\nFor more information").next().unwrap_or_default();
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        return commands::wrong_arguments(message, "`webnibble COMMAND --help` lists the options", true);
    }
    // A reader that went away is no failure of ours.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(commands::USAGE))
}

async fn run(cli: Cli) -> ExitCode {
    let (json, verbose) = (cli.json, cli.verbose);
    // Before a model is fetched: what was typed and is not there.
    if let Some(launch) = cli.command.launch()
        && let Err(error) = check_named(&launch).await
    {
        return commands::failed(&error, json);
    }
    match cli.command {
        Command::Doctor(args) => commands::doctor::run(args, json, verbose).await,
        Command::Drivers(args) => commands::drivers::run(args, json, verbose).await,
        Command::Verify(args) => commands::verify::run(args, json, verbose).await,
        Command::Run(args) => commands::run::run(*args, json, verbose).await,
        Command::Eval(args) => commands::eval::run(*args, json, verbose).await,
        Command::Quantize(args) => commands::quantize::run(args, json).await,
        Command::Report(args) => commands::report::run(&args, json),
        Command::Bench(args) => commands::bench::run(*args, json, verbose).await,
        Command::Export(args) => commands::export::run(args, json).await,
        Command::Inspect(args) => commands::inspect::run(args, json).await,
        Command::Serve(args) => commands::serve::run(*args, json, verbose).await,
        Command::Demo(args) => commands::demo::run(args, json, verbose).await,
    }
}

/// Logs go to stderr, so that stdout holds nothing but the answer. `RUST_LOG` overrides.
fn start_logging(verbose: bool) {
    let default = if verbose {
        "warn,webnibble=debug,webnibble_host=debug,browser=debug,console=debug,page=debug"
    } else {
        "warn"
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(has_colours())
        .with_target(verbose)
        .without_time()
        .init();
}

/// Whether who reads the log sees colours: on a terminal, unless `NO_COLOR` says that nobody wants them.
fn has_colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Waits for a signal that ends the program; its name and number.
#[cfg(unix)]
async fn stop_signal() -> (&'static str, u8) {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()));
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = signals else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => ("Ctrl-C", 2),
        _ = terminate.recv() => ("SIGTERM", 15),
        _ = hangup.recv() => ("SIGHUP", 1),
    }
}

/// Waits for Ctrl-C; its name and number.
#[cfg(not(unix))]
async fn stop_signal() -> (&'static str, u8) {
    match tokio::signal::ctrl_c().await {
        Ok(()) => ("Ctrl-C", 2),
        Err(_) => std::future::pending().await,
    }
}
