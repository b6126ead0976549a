//! Makes the table of WGSL files from the folders, and validates every permutation with naga, so that a broken kernel
//! fails the build and not a user's page.
//!
//! A file's `#permutation` lines say with which flags and constants it is validated. A file that has none is for imports.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "src/preprocess.rs"]
mod preprocess;

/// Shared files, and the folder that has a folder for each operator.
const FOLDERS: [&str; 2] = ["wgsl", "src/ops"];

fn main() {
    println!("cargo::rerun-if-changed=src/preprocess.rs");
    let mut files = BTreeMap::new();
    for folder in FOLDERS {
        println!("cargo::rerun-if-changed={folder}");
        find(Path::new(folder), &mut files);
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where to write")).join("wgsl.rs");
    fs::write(out, table(&files)).expect("the build's folder can be written");
    let failures = failures(&files);
    assert!(failures.is_empty(), "\n{failures}");
}

/// A WGSL file.
struct File {
    path: PathBuf,
    text: &'static str,
}

/// Finds WGSL files by their names, in a folder and those inside it.
fn find(folder: &Path, files: &mut BTreeMap<String, File>) {
    for entry in fs::read_dir(folder).expect("the folder is part of the crate") {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "wgsl") {
            let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a WGSL file is UTF-8").leak();
            let before = files.insert(name, File { path: path.clone(), text });
            assert!(before.is_none(), "two WGSL files are called {}", path.display());
        }
    }
}

/// Rust that includes each file's text beside its name.
fn table(files: &BTreeMap<String, File>) -> String {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the crate is"));
    let rows =
        files.iter().map(|(name, File { path, .. })| format!("({name:?}, include_str!({:?})),", root.join(path)));
    format!("&[{}]", rows.collect::<String>())
}

/// What naga has against the permutations of every file.
fn failures(files: &BTreeMap<String, File>) -> String {
    let mut failures = String::new();
    for (name, File { text, .. }) in files {
        let mut permutations = text.lines().filter_map(|line| line.strip_prefix(preprocess::PERMUTATION)).peekable();
        if text.contains("@compute") && permutations.peek().is_none() {
            let _ = writeln!(failures, "kernel `{name}` has no line `{}`", preprocess::PERMUTATION);
        }
        for permutation in permutations {
            if let Err(error) = check(name, permutation, files) {
                let _ = writeln!(failures, "kernel `{name}{permutation}`:\n{error}");
            }
        }
    }
    failures
}

fn check(name: &str, permutation: &str, files: &BTreeMap<String, File>) -> Result<(), String> {
    let (mut flags, mut constants) = (Vec::new(), Vec::new());
    for word in permutation.split_whitespace() {
        match word.split_once('=') {
            Some((name, value)) => {
                constants.push((name, value.parse().map_err(|_| format!("`{word}` is not NAME=number"))?));
            }
            None => flags.push(word),
        }
    }
    let text = preprocess::expand(name, &flags, &constants, &|name| files.get(name).map(|file| file.text))?;
    // naga knows subgroup operations but not the directive that browsers want for them.
    let text = text.replace("enable subgroups;", "");
    let module = naga::front::wgsl::parse_str(&text).map_err(|e| e.emit_to_string(&text))?;
    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all())
        .validate(&module)
        .map(drop)
        .map_err(|e| e.emit_to_string(&text))
}
