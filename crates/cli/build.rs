//! Names the revision that this is built from, where git is there to tell.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Both change with every commit, and neither with a mere edit.
    for path in ["../../.git/HEAD", "../../.git/logs/HEAD"] {
        if std::path::Path::new(path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let described = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    let revision = described.ok().filter(|output| output.status.success());
    let revision = revision.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    println!("cargo::rustc-env=WEBNIBBLE_REVISION={revision}");
}
