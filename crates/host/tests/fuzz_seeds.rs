//! Every input of `fuzz/seeds`, through the target that it is for: what fuzzing found once stays mended.

use std::path::{Path, PathBuf};

#[expect(unreachable_pub, reason = "it is a crate of its own, too")]
#[path = "../../../fuzz/src/lib.rs"]
mod targets;

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("folders can be listed").path()).collect();
    files.sort();
    files
}

#[test]
fn no_seed_breaks_a_promise() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    let names: Vec<_> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
    let mut folders: Vec<_> =
        files(&seeds).iter().map(|folder| folder.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    folders.sort_by_key(|folder| names.iter().position(|name| name == folder));
    assert_eq!(folders, names, "a folder of seeds for every target");
    let mut broken = Vec::new();
    for name in names {
        let inputs = files(&seeds.join(name));
        assert!(!inputs.is_empty(), "no seeds for {name}");
        for input in inputs {
            let bytes = std::fs::read(&input).unwrap();
            if std::panic::catch_unwind(|| targets::run(name, &bytes)).is_err() {
                broken.push(input.display().to_string());
            }
        }
    }
    assert!(broken.is_empty(), "these inputs break a promise: {broken:#?}");
}
