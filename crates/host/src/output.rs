//! Where commands may write: over nothing that they read, and over no file of a model. Asked before anything is computed.

use std::path::{Path, PathBuf};

use crate::error::Failure;

/// Folders below one that is read in which its files are looked for.
const DEEPEST: usize = 4;

/// Folders above a file that may be a model's: `onnx/` and `1_Pooling/` lie in one.
const ABOVE: usize = 3;

/// Why a file may not be written where it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// It is what the command reads, by this name or another.
    #[error("{} would be written over, and it is read: it is the file {}", .output.display(), .read.display())]
    IsRead {
        /// Where it was to be written.
        output: PathBuf,
        /// The file that is read.
        read: PathBuf,
    },
    /// It is a file of a model, which would lose it.
    #[error("{} would be written over, and it belongs to the model in {}", .output.display(), .folder.display())]
    OfModel {
        /// Where it was to be written.
        output: PathBuf,
        /// The model's folder.
        folder: PathBuf,
    },
    /// It is a folder.
    #[error("{} should be a file, found a folder", .output.display())]
    IsFolder {
        /// Where it was to be written.
        output: PathBuf,
    },
}

impl Failure for OutputError {
    fn code(&self) -> String {
        "output".into()
    }

    fn hint(&self) -> String {
        "give another file or folder to write to".into()
    }
}

/// Refuses to write over what is read, by whatever name, and over files in a model's folder. `reads` are files, or folders
/// with all that is in them; files and folders that are not there are no hindrance.
///
/// # Errors
/// Names the first file that would be lost.
pub fn check_outputs(outputs: &[PathBuf], reads: &[&Path]) -> Result<(), OutputError> {
    check_not_read(outputs, reads)?;
    for output in outputs.iter().filter(|output| output.exists()) {
        if let Some(folder) = models_folder_around(output) {
            return Err(OutputError::OfModel { output: output.clone(), folder });
        }
    }
    Ok(())
}

/// The same of what is read alone: for a folder that the same command wrote before.
///
/// # Errors
/// Names the first file that would be lost.
pub fn check_not_read(outputs: &[PathBuf], reads: &[&Path]) -> Result<(), OutputError> {
    let there: Vec<&PathBuf> = outputs.iter().filter(|output| output.exists()).collect();
    let mut files = Vec::new();
    if !there.is_empty() {
        reads.iter().for_each(|read| list(read, DEEPEST, &mut files));
    }
    for output in there {
        if output.is_dir() {
            return Err(OutputError::IsFolder { output: output.clone() });
        }
        if let Some(read) = files.iter().find(|read| is_same(output, read)) {
            return Err(OutputError::IsRead { output: output.clone(), read: read.clone() });
        }
    }
    Ok(())
}

/// Whether two paths are one file: by another spelling, a symbolic link or a hard link.
fn is_same(one: &Path, other: &Path) -> bool {
    // What may not be opened may still be replaced.
    let same_place = || one.canonicalize().ok().is_some_and(|one| other.canonicalize().is_ok_and(|other| one == other));
    same_file::is_same_file(one, other).unwrap_or_else(|_| same_place())
}

fn list(path: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(path) else {
        files.push(path.to_owned());
        return;
    };
    for entry in entries.flatten().map(|entry| entry.path()) {
        match entry.is_dir() {
            // A repository's own records are nothing that is read.
            true if depth > 0 && !entry.ends_with(".git") => list(&entry, depth - 1, files),
            true => {}
            false => files.push(entry),
        }
    }
}

/// The folder of the model that a file belongs to, if it lies in one, or is a link to one that does.
fn models_folder_around(file: &Path) -> Option<PathBuf> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let target = file.canonicalize().ok();
    let folders = [folder.canonicalize().ok(), target.as_deref().and_then(Path::parent).map(Path::to_path_buf)];
    let around =
        |folder: &PathBuf| folder.ancestors().take(ABOVE).find(|one| is_models_folder(one)).map(Path::to_path_buf);
    folders.iter().flatten().find_map(around)
}

/// Whether a folder has what says what a model is, and weights.
fn is_models_folder(folder: &Path) -> bool {
    let says = ["config.json", "modules.json"].iter().any(|name| folder.join(name).is_file());
    let mut files = Vec::new();
    if says {
        list(folder, 1, &mut files);
    }
    let ends = ["safetensors", "onnx", "bin", "gguf", "h5", "pt", "pth", "msgpack"];
    files.iter().any(|file| file.extension().is_some_and(|end| ends.iter().any(|one| end == *one)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::testing::write;

    fn check(output: &Path, reads: &[&Path]) -> Result<(), OutputError> {
        check_outputs(&[output.to_owned()], reads)
    }

    #[test]
    fn what_is_read_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(folder.path(), "model/weights.safetensors", b"weights");
        write(folder.path(), "texts.txt", b"texts");
        let (model, texts) = (at("model"), at("texts.txt"));
        let reads = [model.as_path(), texts.as_path()];
        let refused = |output: &Path| matches!(check(output, &reads), Err(OutputError::IsRead { .. }));
        assert!(refused(&at("texts.txt")));
        assert!(refused(&at("model/weights.safetensors")));
        assert!(refused(&at("model/../model/./weights.safetensors")));
        std::fs::hard_link(at("model/weights.safetensors"), at("hard")).unwrap();
        assert!(refused(&at("hard")));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("model/weights.safetensors", at("soft")).unwrap();
            std::os::unix::fs::symlink("model", at("other")).unwrap();
            assert!(refused(&at("soft")) && refused(&at("other/weights.safetensors")));
        }
        assert!(matches!(check(&model, &reads), Err(OutputError::IsFolder { .. })));
        for free in ["new.safetensors", "model/new.safetensors", "absent/new.safetensors"] {
            assert!(check(&at(free), &reads).is_ok(), "{free}");
        }
        // What lies elsewhere is the caller's to write again.
        write(folder.path(), "old.safetensors", b"an older package");
        assert!(check(&at("old.safetensors"), &reads).is_ok());
    }

    #[test]
    fn a_file_of_any_model_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["m/config.json", "m/model.safetensors", "m/1_Pooling/config.json", "m/onnx/model.onnx", "m/notes.md"]
        {
            write(folder.path(), name, b"{}");
        }
        for name in ["model.safetensors", "1_Pooling/config.json", "onnx/model.onnx", "notes.md", "onnx/../config.json"]
        {
            let refused = check(&folder.path().join("m").join(name), &[]);
            assert!(matches!(refused, Err(OutputError::OfModel { .. })), "{name}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("m/model.safetensors", folder.path().join("link")).unwrap();
            assert!(matches!(check(&folder.path().join("link"), &[]), Err(OutputError::OfModel { .. })));
        }
        assert!(check(&folder.path().join("m/q4.safetensors"), &[]).is_ok());
        // A folder with settings of something else is none.
        write(folder.path(), "project/config.json", b"{}");
        write(folder.path(), "project/report.md", b"");
        assert!(check(&folder.path().join("project/report.md"), &[]).is_ok());
    }
}
