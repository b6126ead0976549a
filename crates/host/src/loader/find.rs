//! Where a model lies: a path, the local models folder, or the hub.

use std::path::{Path, PathBuf};

use super::error::LoadError;
use super::gguf::is_gguf;
use super::hub::{Fetched, Hub};
use super::names;
use super::onnx_files::OnHub;
use super::progress::Progress;
use crate::disk::cache_dir;

/// A model that is on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundModel {
    /// Folder or package file.
    pub path: PathBuf,
    /// Name for people.
    pub name: String,
    /// Files that are on the hub still, of a model that has only an ONNX form.
    pub on_hub: Option<OnHub>,
}

impl FoundModel {
    fn here(path: PathBuf, name: &str) -> Self {
        FoundModel { path, name: name.to_owned(), on_hub: None }
    }
}

/// The local models folder: `$WEBNIBBLE_MODELS`, else `models` in webnibble's cache.
/// `scripts/fetch-models.sh` fills it; a folder of one's own may be put there too.
pub fn models_dir() -> PathBuf {
    let chosen = std::env::var_os("WEBNIBBLE_MODELS").filter(|value| !value.is_empty());
    chosen.map_or_else(|| cache_dir().join("models"), PathBuf::from)
}

/// Finds a model by what a person typed: a path that exists, a model of the local folder, a model of the hub, which is
/// fetched into the hub's own cache.
pub fn find(name: &str, progress: &mut dyn FnMut(Progress<'_>)) -> Result<FoundModel, LoadError> {
    find_in(name, &models_dir(), Hub::from_env, progress)
}

fn find_in(
    name: &str,
    models: &Path,
    hub: impl FnOnce() -> Result<Hub, LoadError>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<FoundModel, LoadError> {
    if let Some(found) = find_path(name)? {
        return Ok(found);
    }
    if !is_model_name(name) {
        return Err(LoadError::NotFound { path: name.into() });
    }
    let short = names::short_name(name);
    // A folder here has no revision: who names one means the hub's.
    for folder in [Some(name), short].into_iter().flatten().map(|name| models.join(name)) {
        if folder.is_dir() {
            return Ok(FoundModel::here(model_in(&folder)?, short.unwrap_or(name)));
        }
    }
    let fetched = hub().and_then(|hub| hub.fetch(&names::hub_name(name), progress));
    match fetched {
        Ok(Fetched { folder, on_hub }) => Ok(FoundModel { on_hub, ..FoundModel::here(folder, short.unwrap_or(name)) }),
        // A name that nobody could look up may as well be a wrong one: then its neighbours help more than the network's error.
        Err(LoadError::Hub { message, .. }) if short.is_none() && !names::nearest_models(name).is_empty() => {
            let reason = format!("it is not in {}, and the hub could not be asked: {message}", models.display());
            Err(LoadError::UnknownName { name: name.to_owned(), reason, nearest: names::nearest_models(name) })
        }
        Err(offline @ LoadError::Offline { .. }) if short.is_none() && !names::nearest_models(name).is_empty() => {
            let reason = format!("it is not in {}, and {offline}", models.display());
            Err(LoadError::UnknownName { name: name.to_owned(), reason, nearest: names::nearest_models(name) })
        }
        Err(LoadError::UnknownName { reason, .. }) => {
            let reason = format!("it is not in {}, and {reason}", models.display());
            Err(LoadError::UnknownName { name: name.to_owned(), reason, nearest: names::nearest_models(name) })
        }
        Err(other) => Err(other),
    }
}

/// A path that exists, or one that can be nothing but a path.
fn find_path(name: &str) -> Result<Option<FoundModel>, LoadError> {
    let path = Path::new(name);
    if path.exists() {
        let whole = path.canonicalize().map_err(|error| LoadError::io(path, error))?;
        let path = &model_in(path)?;
        let part = if whole.is_dir() { whole.file_name() } else { whole.file_stem() };
        let name = part.map_or_else(|| name.to_owned(), |part| part.to_string_lossy().into_owned());
        return Ok(Some(FoundModel::here(path.to_owned(), &name)));
    }
    let is_file = [".safetensors", ".gguf", ".json", ".onnx", ".bin"].iter().any(|end| name.ends_with(end));
    if is_file || path.is_absolute() || name.starts_with('.') || name.starts_with('~') || name.ends_with('/') {
        return Err(LoadError::NotFound { path: path.to_owned() });
    }
    Ok(None)
}

/// The one GGUF file of a folder that has no model in Hugging Face layout; of any other path the path itself.
fn model_in(path: &Path) -> Result<PathBuf, LoadError> {
    let is_laid_out = ["config.json", "modules.json"].iter().any(|file| path.join(file).is_file());
    if !path.is_dir() || is_laid_out {
        return Ok(path.to_owned());
    }
    let entries = std::fs::read_dir(path).map_err(|error| LoadError::io(path, error))?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|file| is_gguf(file));
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    match &mut files[..] {
        [] => Ok(path.to_owned()),
        [only] => Ok(std::mem::take(only)),
        _ => {
            let files = files.iter().filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned()));
            Err(LoadError::SeveralGguf { path: path.to_owned(), files: files.collect() })
        }
    }
}

/// `model` or `organization/model`, of the letters that the hub allows, and `@` with a branch, tag or commit after it.
fn is_model_name(name: &str) -> bool {
    let (id, revision) = name.split_once('@').unwrap_or((name, "main"));
    let is_part = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed)
    };
    id.split('/').count() <= 2 && id.split('/').all(is_part) && revision.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_hub() -> Result<Hub, LoadError> {
        Err(LoadError::Hub { name: "asked".into(), message: "no network".into() })
    }

    fn look(name: &str, models: &Path) -> Result<FoundModel, LoadError> {
        find_in(name, models, no_hub, &mut |_| {})
    }

    #[test]
    fn a_path_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("my-model");
        std::fs::create_dir(&model).unwrap();
        let found = look(model.to_str().unwrap(), folder.path()).unwrap();
        assert_eq!((found.path, found.name.as_str()), (model, "my-model"));
        let file = folder.path().join("four.bits.safetensors");
        std::fs::write(&file, b"").unwrap();
        assert_eq!(look(file.to_str().unwrap(), folder.path()).unwrap().name, "four.bits");
    }

    #[test]
    fn a_folder_that_holds_one_gguf_file_is_that_file() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("my-llama");
        std::fs::create_dir(&model).unwrap();
        std::fs::write(model.join("README.md"), b"").unwrap();
        std::fs::write(model.join("llama-q4.gguf"), b"").unwrap();
        for name in [model.to_str().unwrap(), "my-llama"] {
            let found = look(name, folder.path()).unwrap();
            assert_eq!((found.path, found.name.as_str()), (model.join("llama-q4.gguf"), "my-llama"));
        }
        std::fs::write(model.join("llama-q8.gguf"), b"").unwrap();
        let error = look("my-llama", folder.path()).unwrap_err().to_string();
        let end = ": expected one model, found 2 GGUF files: llama-q4.gguf, llama-q8.gguf";
        assert!(error.ends_with(end), "{error}");
        // What is laid out as Hugging Face does it is read so, whatever else lies there.
        std::fs::write(model.join("config.json"), b"{}").unwrap();
        assert_eq!(look("my-llama", folder.path()).unwrap().path, model);
    }

    #[test]
    fn then_the_local_folder_by_any_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("all-MiniLM-L6-v2");
        std::fs::create_dir(&model).unwrap();
        for name in ["all-MiniLM-L6-v2", "all-minilm-l6-v2", "sentence-transformers/all-MiniLM-L6-v2"] {
            let found = look(name, folder.path()).unwrap();
            assert_eq!((found.path, found.name.as_str()), (model.clone(), "all-MiniLM-L6-v2"));
        }
    }

    #[test]
    fn what_can_only_be_a_path_is_not_asked_of_the_hub() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "./absent",
            "/absent/model",
            "absent.gguf",
            "absent.safetensors",
            "~/m",
            "a/b/c",
            "a b",
            "",
            "../a",
            "a@",
            "@b",
            "a/b@../c",
            "a@b@c",
            "a@b c",
        ] {
            assert!(matches!(look(name, folder.path()), Err(LoadError::NotFound { .. })), "{name}");
        }
    }

    #[test]
    fn a_name_with_a_revision_is_asked_of_the_hub() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("all-MiniLM-L6-v2")).unwrap();
        for name in ["all-MiniLM-L6-v2@main", "a/b@refs/pr/1", "a/b@v1.0"] {
            assert!(
                matches!(look(name, folder.path()), Err(LoadError::Hub { .. } | LoadError::UnknownName { .. })),
                "{name}"
            );
        }
        // A path that exists is one, whatever is in it.
        let named = folder.path().join("my@model");
        std::fs::create_dir(&named).unwrap();
        assert_eq!(look(named.to_str().unwrap(), folder.path()).unwrap().path, named);
    }

    #[test]
    fn unknown_names_get_their_neighbours() {
        let folder = tempfile::tempdir().unwrap();
        let error = look("bert-base-uncasd", folder.path()).unwrap_err().to_string();
        assert!(error.starts_with("no model is called `bert-base-uncasd`: it is not in "), "{error}");
        assert!(error.contains("the hub could not be asked: no network"), "{error}");
        assert!(error.contains("did you mean bert-base-uncased or bert-base-cased"), "{error}");
        // A known name is no wrong one: the network's error it is.
        let error = look("bert-base-uncased", folder.path()).unwrap_err();
        assert!(matches!(error, LoadError::Hub { .. }), "{error}");
    }
}
