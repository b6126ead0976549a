//! Quantized packages that end-to-end tests share: each is made by the first test that needs it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::{repository, webnibble};

/// Makes the packages of a cache those that all tests share.
pub(crate) fn share(cache: &Path) {
    let link = cache.join("packages");
    if link.exists() {
        return;
    }
    std::fs::create_dir_all(cache).expect("the sandbox can be written");
    std::os::unix::fs::symlink(shared(), link).expect("the sandbox can be written");
}

/// The folder of this build's packages. Those of earlier builds are removed: another quantizer may have made them.
fn shared() -> PathBuf {
    let all = repository().join("target/tests/packages");
    let own = all.join(build());
    if !own.is_dir() {
        // Two tests that begin at once do the same.
        let _ = std::fs::remove_dir_all(&all);
        std::fs::create_dir_all(&own).expect("target/ can be written");
    }
    own
}

/// Tells builds of the command line apart.
fn build() -> String {
    let file = std::fs::metadata(webnibble()).expect("the command line was built");
    let mut hasher = DefaultHasher::new();
    (webnibble(), file.len(), file.modified().ok()).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
