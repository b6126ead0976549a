//! Packages that turn out to be damaged only when they are read.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use webnibble_common::wire::{AgentMessage, HostMessage, LoadOptions, LoadReport, RemoteError};

use super::*;
use crate::fake_agent::PATIENCE;
use crate::host::Host;
use crate::loader::testing::{tiny_model, write_model};
use crate::quantizer::write_package;
use crate::run::load_package;
use crate::run::testing::{load_report, page_that};

/// A small model with its package in a store, of which one byte of the last weight was changed.
struct Damaged {
    folder: TempDir,
    package: Package,
    /// The file before.
    whole: Vec<u8>,
}

fn damaged() -> Damaged {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), &tiny_model());
    let model = ModelFolder::open(folder.path(), "tiny").unwrap();
    let store = PackageStore::at(folder.path().join("packages"));
    let package = Package::stored(store, &model, QuantizeOptions::default(), &mut |_| {}).unwrap();
    let whole = std::fs::read(&package.path).unwrap();
    damage(&package);
    assert!(package.check().is_err());
    Damaged { folder, package, whole }
}

/// Changes one byte of the first weight, which leaves header and report as they are.
fn damage(package: &PackageFile) {
    let mut bytes = std::fs::read(&package.path).unwrap();
    let name = package.header.meta.tensors.keys().next().unwrap();
    let plane = package.header.plane(name, webnibble_common::package::Part::Packed).unwrap();
    bytes[plane.begin as usize] ^= 1;
    std::fs::write(&package.path, bytes).unwrap();
}

/// Reads the weights, and counts how often.
fn read(package: &Package, tries: &AtomicUsize) -> Result<usize, HostError> {
    package.read(|file| {
        tries.fetch_add(1, Ordering::Relaxed);
        Ok(file.read_weights()?.len())
    })
}

fn files_in(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_package_of_the_store_is_made_again_once() {
    let Damaged { folder, package, whole } = damaged();
    let tries = AtomicUsize::new(0);
    assert_eq!(read(&package, &tries).unwrap(), package.graph.weights.len());
    assert!(std::fs::read(&package.path).unwrap() == whole, "the same package as before");
    assert_eq!(files_in(&folder.path().join("packages")), 1);
    assert_eq!(tries.load(Ordering::Relaxed), 2);
    assert!(read(&package, &tries).is_ok());
    assert_eq!(tries.load(Ordering::Relaxed), 3, "it is whole now");
}

#[test]
fn a_package_of_the_store_that_is_gone_is_made_again() {
    let Damaged { folder: _folder, package, whole } = damaged();
    std::fs::remove_file(&package.path).unwrap();
    assert!(read(&package, &AtomicUsize::new(0)).is_ok());
    assert!(std::fs::read(&package.path).unwrap() == whole);
}

#[test]
fn the_callers_own_package_is_left_as_it_is() {
    let Damaged { folder: _folder, package, .. } = damaged();
    let before = std::fs::read(&package.path).unwrap();
    let (given, tries) = (Package::given(package.file.clone()), AtomicUsize::new(0));
    let error = read(&given, &tries).unwrap_err();
    assert!(error.to_string().starts_with(&format!("{}: plane `", package.path.display())), "{error}");
    assert!(error.to_string().ends_with("the file is damaged"), "{error}");
    assert!(std::fs::read(&package.path).unwrap() == before);
    assert_eq!(tries.load(Ordering::Relaxed), 1);
}

#[test]
fn a_package_whose_model_changed_or_is_gone_is_left_as_it_is() {
    let Damaged { folder, package, .. } = damaged();
    let before = std::fs::read(&package.path).unwrap();
    let mut changed = tiny_model();
    changed.get_mut("encoder.layer.0.output.dense.weight").unwrap().1[7] += 0.5;
    write_model(folder.path(), &changed);
    let error = read(&package, &AtomicUsize::new(0)).unwrap_err().to_string();
    assert!(error.contains("the file is damaged"), "{error}");
    std::fs::remove_file(folder.path().join("config.json")).unwrap();
    let error = read(&package, &AtomicUsize::new(0)).unwrap_err().to_string();
    assert!(error.contains("config.json"), "{error}");
    assert!(std::fs::read(&package.path).unwrap() == before);
}

#[test]
fn who_reads_and_who_makes_it_side_by_side_all_get_it() {
    let Damaged { folder, package, whole } = damaged();
    let model = ModelFolder::open(folder.path(), "tiny").unwrap();
    let store = PackageStore::at(folder.path().join("packages"));
    let (options, data) = (QuantizeOptions::default(), CalibrationData::built_in());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| read(&package, &AtomicUsize::new(0)).unwrap());
            // As another process does, which waits for nobody here.
            scope.spawn(|| store.make(&model, &options, &data, &mut |_| {}).unwrap());
        }
    });
    assert!(std::fs::read(&package.path).unwrap() == whole);
    assert_eq!(files_in(&folder.path().join("packages")), 1, "nothing temporary is left");
}

#[test]
fn a_package_with_another_header_is_not_read_by_the_old_one() {
    let Damaged { folder, package, .. } = damaged();
    let model = ModelFolder::open(folder.path(), "tiny").unwrap();
    let other = QuantizeOptions { bits: Bits::B8, ..QuantizeOptions::default() };
    let quantized = crate::quantizer::quantize(&model, &other, &mut |_| {}).unwrap();
    write_package(&quantized, &package.path).unwrap();
    let bits = package.read(|file| {
        file.read_weights()?;
        Ok(file.header.meta.quantization.bits)
    });
    assert_eq!(bits.unwrap(), 8, "it is whole, and read by its own header");
}

/// A page that checks the file that it is to load, as pages do, and how often it was asked to.
async fn page(package: &Package) -> (Host, Arc<AtomicUsize>) {
    let (path, loads) = (package.path.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&loads);
    let host = page_that(move |asked| {
        let HostMessage::Load { url, options, .. } = asked else { return AgentMessage::Done };
        counted.fetch_add(1, Ordering::Relaxed);
        match PackageFile::open(&path).and_then(|file| file.check()) {
            Ok(()) => AgentMessage::Loaded { report: Box::new(load_report(options)) },
            Err(_) => {
                let message = format!("{url}: plane `x` should have another SHA-256: the file is damaged");
                AgentMessage::Error { error: RemoteError::new(ErrorCode::BadPackage, message, "hint") }
            }
        }
    });
    (host.await, loads)
}

async fn load(host: &Host, package: &Package) -> Result<LoadReport, HostError> {
    load_package(host, "m", package, LoadOptions::on(Platform::Wasm), PATIENCE).await
}

#[tokio::test]
async fn a_page_that_finds_a_package_of_the_store_damaged_gets_it_once_more() {
    let Damaged { folder: _folder, package, whole } = damaged();
    let (host, loads) = page(&package).await;
    load(&host, &package).await.unwrap();
    assert_eq!(loads.load(Ordering::Relaxed), 2);
    assert!(std::fs::read(&package.path).unwrap() == whole);
    load(&host, &package).await.unwrap();
    assert_eq!(loads.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_page_that_finds_the_callers_package_damaged_is_an_error_that_names_the_file() {
    let Damaged { folder: _folder, package, .. } = damaged();
    let (host, loads) = page(&package).await;
    let error = load(&host, &Package::given(package.file.clone())).await.unwrap_err();
    let expected = format!("{}: plane `x` should have another SHA-256: the file is damaged", package.path.display());
    assert_eq!(error.to_string(), expected);
    assert_eq!((error.code().as_str(), loads.load(Ordering::Relaxed)), ("bad_package", 1));
    assert!(package.path.is_file());
}
