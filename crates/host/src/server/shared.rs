//! What the handlers see.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::offered::Offered;
use super::registry::Registry;
use crate::assets::Assets;
use crate::onnx::OnnxFolder;

/// What the handlers see.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) assets: Assets,
    pub(super) packages: Mutex<BTreeMap<String, PathBuf>>,
    /// ONNX forms of models, by their digests.
    pub(super) folders: Mutex<BTreeMap<String, Arc<OnnxFolder>>>,
    /// What a person may choose on the page.
    pub(super) offered: Mutex<Vec<Offered>>,
    pub(super) registry: Mutex<Registry>,
    /// Origins of pages that may open a socket.
    pub(super) origins: Vec<String>,
    /// Name and port by which browsers on other machines reach this one.
    pub(super) advertised: Option<String>,
    pub(super) content_security_policy: String,
    /// Of the script of the Worker in which transformers.js runs, which needs a laxer one.
    pub(super) worker_policy: String,
}

/// The lock's content, also after a panic elsewhere: every change under these locks is a single insertion or removal.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
