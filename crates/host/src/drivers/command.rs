//! Running the programs that install drivers.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::routes::Manager;
use crate::browser::is_root;

/// How long one of them may take: compiling a driver takes minutes.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Lines of its output in an error.
const LAST_LINES: usize = 5;

/// Runs a package manager, with all rights where it needs them.
///
/// # Errors
/// Says what it said.
pub(super) async fn packages(manager: &Manager, names: &[&str]) -> Result<(), String> {
    for step in [manager.refresh, &[manager.install, names].concat()] {
        if !step.is_empty() {
            // Not killed when we are: half an installation is worse than one that nobody waits for.
            run(of_manager(manager, step)?).await?;
        }
    }
    Ok(())
}

fn of_manager(manager: &Manager, args: &[&str]) -> Result<Command, String> {
    let mut command = match (manager.as_root && !is_root(), super::find_program("sudo")) {
        (false, _) => Command::new("env"),
        (true, Some(sudo)) => {
            let mut command = Command::new(sudo);
            // It asks on the terminal, where there is one.
            if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
                command.arg("-n");
            }
            command.arg("env");
            command
        }
        (true, None) => {
            return Err(format!("it needs all rights: run `{} {}` as root", manager.program, args.join(" ")));
        }
    };
    command.args(["DEBIAN_FRONTEND=noninteractive", manager.program]).args(args);
    Ok(command)
}

/// Runs a program to its end.
///
/// # Errors
/// Says what it said.
pub(super) async fn run(mut command: Command) -> Result<(), String> {
    command.stdin(Stdio::null());
    tracing::info!("running {:?}", command.as_std());
    let output = match tokio::time::timeout(LIMIT, command.output()).await {
        Ok(output) => output.map_err(|error| format!("it does not run: {error}"))?,
        Err(_) => return Err(format!("it did not end within {} minutes", LIMIT.as_secs() / 60)),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<_> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    Err(format!("it ended with {}: {}", output.status, last.join(" | ")))
}
