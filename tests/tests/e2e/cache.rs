//! Packages of the cache that are damaged after they were made.

use std::path::{Path, PathBuf};

use webnibble_common::package::Part;
use webnibble_host::loader::PackageFile;
use webnibble_tests::{Finished, Sandbox, browser_available, golden_bert, skip_unless};

/// Changes one byte of the first weight.
fn damage(path: &Path) {
    let package = PackageFile::open(path).unwrap();
    let name = package.header.meta.tensors.keys().next().unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    bytes[package.header.plane(name, Part::Packed).unwrap().begin as usize] ^= 1;
    std::fs::write(path, bytes).unwrap();
    assert!(package.check().is_err());
}

/// The only package in the sandbox's cache.
fn cached(sandbox: &Sandbox) -> PathBuf {
    let packages = sandbox.path().join("cache/webnibble/packages");
    let mut found = std::fs::read_dir(&packages).unwrap().map(|entry| entry.unwrap().path());
    let package = found.next().expect("a package was made");
    assert_eq!(found.next(), None);
    package
}

fn run(sandbox: &Sandbox, model: &Path, more: &[&str]) -> Finished {
    let ids = sandbox.path().join("ids");
    std::fs::write(&ids, "1 2 3 4 5").unwrap();
    let args = ["run", "--json", "--verbose", "--gpu", "software", "--runs", "1", "--ids", ids.to_str().unwrap()];
    sandbox.run(&[&args[..], &["--model", model.to_str().unwrap()], more].concat())
}

#[test]
fn a_damaged_package_is_made_again_and_the_run_succeeds() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::with_own_packages();
    let before = run(&sandbox, &golden_bert(), &["--platform", "wasm"]);
    assert_eq!(before.code, Some(0), "{before:?}");
    let package = cached(&sandbox);
    let whole = std::fs::read(&package).unwrap();
    damage(&package);
    let after = run(&sandbox, &golden_bert(), &["--platform", "wasm"]);
    assert_eq!(after.code, Some(0), "{after:?}");
    assert_eq!(after.json()["output"], before.json()["output"]);
    assert!(after.stderr.contains(&format!("{}: plane `", package.display())), "{after:?}");
    assert!(after.stderr.contains("the file is damaged; the package is made again"), "{after:?}");
    assert!(std::fs::read(&package).unwrap() == whole);
    let again = run(&sandbox, &golden_bert(), &["--platform", "wasm"]);
    assert!(again.code == Some(0) && !again.stderr.contains("made again"), "{again:?}");
    sandbox.assert_clean();
}

#[test]
fn a_damaged_package_of_the_users_own_is_an_error_that_names_it() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::with_own_packages();
    let package = sandbox.path().join("own.safetensors");
    let quantized = sandbox.run(&["quantize", golden_bert().to_str().unwrap(), package.to_str().unwrap()]);
    assert_eq!(quantized.code, Some(0), "{quantized:?}");
    damage(&package);
    let damaged = std::fs::read(&package).unwrap();
    let finished = run(&sandbox, &package, &["--platform", "wasm"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let error = &finished.json()["error"];
    let message = error["message"].as_str().unwrap();
    assert_eq!(error["code"], "bad_package");
    assert!(message.starts_with(&format!("{}: plane `", package.display())), "{message}");
    assert!(!message.contains("/packages/"), "{message}");
    assert!(std::fs::read(&package).unwrap() == damaged, "it is the user's");
    let inspected = sandbox.run(&["inspect", "--json", package.to_str().unwrap()]);
    assert!(inspected.json()["problem"].as_str().unwrap().contains("the file is damaged"), "{inspected:?}");
    sandbox.assert_clean();
}
