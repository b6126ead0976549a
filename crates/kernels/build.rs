//! Validates the WGSL of every permutation with naga, so that a broken kernel fails the build and not a user's page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::{fs, path::Path};

#[path = "src/preprocess.rs"]
mod preprocess;

fn main() {
    println!("cargo::rerun-if-changed=wgsl");
    println!("cargo::rerun-if-changed=src/preprocess.rs");
    let mut sources = BTreeMap::new();
    for folder in ["wgsl", "wgsl/shared"] {
        for entry in fs::read_dir(folder).expect("the wgsl folder is part of the crate") {
            let path = entry.expect("the wgsl folder can be listed").path();
            if path.extension().is_some_and(|e| e == "wgsl") {
                sources.insert(stem(&path), &*fs::read_to_string(&path).expect("a WGSL file is UTF-8").leak());
            }
        }
    }
    let permutations = fs::read_to_string("wgsl/permutations").expect("wgsl/permutations is part of the crate");
    let mut failures = String::new();
    for line in permutations.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')) {
        if let Err(error) = check(line, &sources) {
            let _ = writeln!(failures, "kernel `{line}`:\n{error}");
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a file has a name").to_string_lossy().into_owned()
}

fn check(line: &str, sources: &BTreeMap<String, &'static str>) -> Result<(), String> {
    let mut words = line.split_whitespace();
    let file = words.next().ok_or("no file is named")?;
    let (mut flags, mut constants) = (Vec::new(), Vec::new());
    for word in words {
        match word.split_once('=') {
            Some((name, value)) => {
                constants.push((name, value.parse().map_err(|_| format!("`{word}` is not NAME=number"))?));
            }
            None => flags.push(word),
        }
    }
    let text = preprocess::expand(file, &flags, &constants, &|name| sources.get(name).copied())?;
    // naga knows subgroup operations but not the directive that browsers want for them.
    let text = text.replace("enable subgroups;", "");
    let module = naga::front::wgsl::parse_str(&text).map_err(|e| e.emit_to_string(&text))?;
    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all())
        .validate(&module)
        .map(drop)
        .map_err(|e| e.emit_to_string(&text))
}
