//! Where the page's files lie, and which of them are served.
//!
//! `www/` holds the page, `pkg/` the agent that `make wasm` builds. Both are read from disk at run time, from the first
//! folder that holds `www/index.html` of: `WEBNIBBLE_ASSETS`, the current folder, the folders above the executable, and
//! the repository that the executable was built from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::HostError;

/// Folders above the executable that are looked at: `target/release/webnibble` lies two below the repository.
const FOLDERS_ABOVE_EXECUTABLE: usize = 4;

/// Files of npm packages under `www/node_modules`, and the URLs at which a page that asks for transformers.js finds them.
const VENDOR: &[(&str, &str)] = &[
    ("transformers.min.js", "@huggingface/transformers/dist"),
    ("ort.webgpu.bundle.min.mjs", "onnxruntime-web/dist"),
    ("ort-wasm-simd-threaded.asyncify.mjs", "onnxruntime-web/dist"),
    ("ort-wasm-simd-threaded.asyncify.wasm", "onnxruntime-web/dist"),
];

/// A file that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Where it lies.
    pub path: PathBuf,
    /// Its media type.
    pub media_type: &'static str,
}

/// Every file that is served, by the path of its URL. What is not listed here does not exist for a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assets {
    files: BTreeMap<String, Asset>,
}

impl Assets {
    /// Finds the page's files.
    ///
    /// # Errors
    /// [`HostError::Assets`] with the folders that were looked at.
    pub fn find() -> Result<Self, HostError> {
        let looked = candidates();
        let root = looked.iter().find(|root| root.join("www/index.html").is_file());
        match root {
            Some(root) => Self::under(root),
            None => Err(HostError::Assets { missing: "www/index.html".into(), looked }),
        }
    }

    /// Takes the files of `root/www` and `root/pkg`.
    ///
    /// # Errors
    /// [`HostError::Assets`] when there is no page, or no WebAssembly in `pkg/`.
    pub fn under(root: &Path) -> Result<Self, HostError> {
        let mut files = BTreeMap::new();
        list(&root.join("www"), "/", &mut files);
        list(&root.join("pkg"), "/pkg/", &mut files);
        vendor(&root.join("www/node_modules"), &mut files);
        let missing = |missing: &str| HostError::Assets { missing: missing.into(), looked: vec![root.into()] };
        let index = files.get("/index.html").cloned().ok_or_else(|| missing("www/index.html"))?;
        if !files.keys().any(|url| url.starts_with("/pkg/") && url.ends_with(".wasm")) {
            return Err(missing("pkg/*.wasm"));
        }
        files.insert("/".into(), index);
        Ok(Self { files })
    }

    /// The text of the library that draws a report's charts, as a classic script; `None` where npm did not fetch it.
    pub fn chart_library(&self) -> Option<String> {
        let page = &self.files.get("/index.html")?.path;
        std::fs::read_to_string(page.with_file_name("node_modules/chart.js/dist/chart.umd.min.js")).ok()
    }

    /// The file behind the path of a URL.
    pub fn get(&self, url_path: &str) -> Option<&Asset> {
        self.files.get(url_path)
    }
}

fn candidates() -> Vec<PathBuf> {
    let from_env = std::env::var_os("WEBNIBBLE_ASSETS").map(PathBuf::from);
    if let Some(root) = from_env {
        // Whoever names a folder wants no other.
        return vec![root];
    }
    let executable = std::env::current_exe().ok();
    let above = executable.iter().flat_map(|path| path.ancestors().skip(1).take(FOLDERS_ABOVE_EXECUTABLE));
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let roots = std::env::current_dir().ok().into_iter().chain(above.map(Path::to_path_buf));
    roots.chain(repository.map(Path::to_path_buf)).collect()
}

/// Adds the files below `folder` whose media type is known; skips hidden files and npm's.
fn list(folder: &Path, url: &str, files: &mut BTreeMap<String, Asset>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') || name == "node_modules" || name.starts_with("package") && name.ends_with(".json") {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            list(&path, &format!("{url}{name}/"), files);
        } else if let Some(media_type) = media_type(&name) {
            files.insert(format!("{url}{name}"), Asset { path, media_type });
        }
    }
}

/// Adds what `npm ci` brought, where it did: only the engines of others need it.
fn vendor(modules: &Path, files: &mut BTreeMap<String, Asset>) {
    for (name, folder) in VENDOR {
        let path = modules.join(folder).join(name);
        if let (true, Some(media_type)) = (path.is_file(), media_type(name)) {
            files.insert(format!("/vendor/{name}"), Asset { path, media_type });
        }
    }
}

/// Media types of what a page is made of; other files are not served.
fn media_type(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "json" | "webmanifest" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }

    #[test]
    fn only_files_of_a_page_are_listed() {
        let root = tempfile::tempdir().unwrap();
        for path in ["www/index.html", "www/js/page.js", "www/package.json", "www/.secret.js", "www/node_modules/a.js"]
        {
            write(root.path(), path);
        }
        for path in ["pkg/agent.js", "pkg/agent_bg.wasm", "pkg/snippets/a/b.js", "pkg/README.md", "Cargo.toml"] {
            write(root.path(), path);
        }
        let assets = Assets::under(root.path()).unwrap();
        let urls: Vec<_> = assets.files.keys().map(String::as_str).collect();
        let pkg = ["/pkg/agent.js", "/pkg/agent_bg.wasm", "/pkg/snippets/a/b.js"];
        assert_eq!(urls, [&["/", "/index.html", "/js/page.js"][..], &pkg].concat());
        assert_eq!(assets.get("/pkg/agent_bg.wasm").unwrap().media_type, "application/wasm");
        assert_eq!(assets.get("/../Cargo.toml"), None);
        let vendored = "www/node_modules/@huggingface/transformers/dist/transformers.min.js";
        write(root.path(), vendored);
        write(root.path(), "www/node_modules/@huggingface/transformers/dist/transformers.node.mjs");
        let assets = Assets::under(root.path()).unwrap();
        assert_eq!(assets.get("/vendor/transformers.min.js").unwrap().path, root.path().join(vendored));
        assert_eq!(assets.files.len(), urls.len() + 1, "only files that a page needs");
    }

    #[test]
    fn what_is_missing_is_named() {
        let root = tempfile::tempdir().unwrap();
        let missing = |root: &Path| match Assets::under(root) {
            Err(HostError::Assets { missing, .. }) => missing,
            other => panic!("expected missing assets, found {other:?}"),
        };
        assert_eq!(missing(root.path()), "www/index.html");
        write(root.path(), "www/index.html");
        assert_eq!(missing(root.path()), "pkg/*.wasm");
    }
}
