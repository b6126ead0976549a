//! Models of the hub, fetched by its ordinary client into its ordinary cache.
//!
//! Only the files that a model needs are fetched, small ones first: a family that nobody knows, or weights in a form that
//! is not read, are found out before the gigabytes come.

use std::io;
use std::path::{Component, Path, PathBuf};

use hf_hub::api::RepoInfo;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};
use serde_json::Value;
use webnibble_models::ModelConfig;
use webnibble_models::sentence::Modules;

use super::checkpoint::{INDEX, SINGLE, shard_names};
use super::folder::{MODULES, is_needed};
use super::onnx_model::onnx_files;
use super::{LoadError, OnHub, OnnxModel, Progress, hub_dir, names, read_file};

/// Further tries at a file whose connection broke.
const RETRIES: usize = 2;

/// What transformers.js reads beside a tokenizer.
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// A model of the hub that is in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its folder there.
    pub folder: PathBuf,
    /// Of a model without safetensors: its ONNX files, to be fetched once it is known which one is wanted.
    pub on_hub: Option<OnHub>,
}

/// A connection to the hub.
#[derive(Debug)]
pub struct Hub {
    api: Api,
    cache: Cache,
}

impl Hub {
    /// The hub as the environment has it: `HF_ENDPOINT`, `HF_HOME` for the cache, and a token from `HF_TOKEN` or of the
    /// hub's own login.
    pub fn from_env() -> Result<Hub, LoadError> {
        Hub::build(ApiBuilder::from_env(), Cache::from_env())
    }

    /// The hub at an address, with a cache of its own.
    pub fn at(endpoint: &str, cache_dir: &Path) -> Result<Hub, LoadError> {
        let cache = Cache::new(cache_dir.to_owned());
        Hub::build(ApiBuilder::from_cache(cache.clone()).with_endpoint(endpoint.to_owned()), cache)
    }

    fn build(builder: ApiBuilder, cache: Cache) -> Result<Hub, LoadError> {
        let token = std::env::var("HF_TOKEN").ok().filter(|token| !token.is_empty()).or_else(|| cache.token());
        let builder = builder.with_progress(false).with_retries(RETRIES).with_token(token);
        let builder = builder.with_user_agent("webnibble", env!("CARGO_PKG_VERSION"));
        let api = builder.build().map_err(|error| hub_error("hub", &error))?;
        Ok(Hub { api, cache })
    }

    /// Fetches what is not in the cache yet of a model; of one that has only an ONNX form, the small files.
    /// When the hub cannot be reached, a model that is in the cache as a whole is taken as it is.
    ///
    /// # Errors
    /// [`LoadError::UnknownName`] when the hub has no such model, [`LoadError::Hub`] when it cannot be reached, and the
    /// errors of its configuration.
    pub fn fetch(&self, id: &str, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Fetched, LoadError> {
        match self.begin(id, progress) {
            Ok(fetch) => fetch.all(),
            Err(unreachable @ LoadError::Hub { .. }) => {
                let cached = self.cached(&Repo::new(id.to_owned(), RepoType::Model));
                cached.map(|folder| Fetched { folder, on_hub: None }).ok_or(unreachable)
            }
            Err(other) => Err(other),
        }
    }

    /// Fetches files of a model by their names.
    ///
    /// # Errors
    /// As [`Hub::fetch`].
    pub fn fetch_files(
        &self,
        id: &str,
        files: &[&str],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), LoadError> {
        let mut fetch = self.begin(id, progress)?;
        files.iter().try_for_each(|file| fetch.file(file).map(drop))
    }

    fn begin<'a>(&'a self, id: &'a str, progress: &'a mut dyn FnMut(Progress<'_>)) -> Result<Fetch<'a>, LoadError> {
        let repo = Repo::new(id.to_owned(), RepoType::Model);
        let info = self.api.repo(repo.clone()).info().map_err(|error| hub_error(id, &error))?;
        Ok(Fetch { hub: self, id, repo, folder: self.snapshot(id, &info.sha), info, progress })
    }

    fn snapshot(&self, id: &str, commit: &str) -> PathBuf {
        self.cache.model(id.to_owned()).pointer_path(commit)
    }

    /// The cached folder of a model, where its weights are all there.
    fn cached(&self, repo: &Repo) -> Option<PathBuf> {
        let cached = self.cache.repo(repo.clone());
        let folder = cached.get("config.json")?.parent()?.to_owned();
        let whole = match cached.get(INDEX) {
            Some(index) => {
                let text = std::fs::read_to_string(index).ok()?;
                shard_names(&text).ok()?.keys().all(|shard| folder.join(shard).exists())
            }
            None => folder.join(SINGLE).exists() || OnnxModel::is_in(&folder, None),
        };
        if !whole {
            return None;
        }
        tracing::warn!("the hub cannot be reached: taking the model as it is in {}", folder.display());
        Some(folder)
    }
}

/// One model being fetched.
struct Fetch<'a> {
    hub: &'a Hub,
    id: &'a str,
    repo: Repo,
    /// Where the files of the commit lie in the cache.
    folder: PathBuf,
    info: RepoInfo,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl Fetch<'_> {
    fn all(mut self) -> Result<Fetched, LoadError> {
        let config: Value = self.json("config.json")?;
        ModelConfig::from_json(&config).map_err(|error| LoadError::Model { path: self.folder.clone(), error })?;
        let modules = self.modules()?;
        let on_hub = self.onnx_alone();
        let shards = if on_hub.is_some() { vec![TOKENIZER_CONFIG.to_owned()] } else { self.shards()? };
        let files = self.info.siblings.iter().map(|sibling| sibling.rfilename.clone());
        let mut needed: Vec<String> = files.filter(|file| is_needed(file, modules.as_ref(), &shards)).collect();
        needed.sort_by_key(|file| file.ends_with(".safetensors"));
        for file in needed {
            self.file(&file)?;
        }
        Ok(Fetched { folder: self.folder, on_hub })
    }

    /// The ONNX files of a repository that has no weights in another form that is read.
    fn onnx_alone(&self) -> Option<OnHub> {
        if self.has(SINGLE) || self.has(INDEX) || onnx_files(|name| self.has(name)).next().is_none() {
            return None;
        }
        let names = self.info.siblings.iter().map(|sibling| sibling.rfilename.clone());
        Some(OnHub { id: self.id.to_owned(), files: names.filter(|name| name.contains(".onnx")).collect() })
    }

    fn has(&self, file: &str) -> bool {
        self.info.siblings.iter().any(|sibling| sibling.rfilename == file)
    }

    fn modules(&mut self) -> Result<Option<Modules>, LoadError> {
        if !self.has(MODULES) {
            return Ok(None);
        }
        let text = self.text(MODULES)?;
        Modules::from_json(&text).map(Some).map_err(|error| LoadError::Sentence { path: self.folder.clone(), error })
    }

    /// Names of the shards; none of a model in one file.
    fn shards(&mut self) -> Result<Vec<String>, LoadError> {
        if self.has(SINGLE) {
            return Ok(Vec::new());
        }
        if !self.has(INDEX) {
            let message = format!("it has neither {SINGLE} nor {INDEX}, and no ONNX form for transformers.js");
            return Err(self.error(message));
        }
        let text = self.text(INDEX)?;
        let shards =
            shard_names(&text).map_err(|message| LoadError::Json { path: self.folder.join(INDEX), message })?;
        Ok(shards.into_keys().collect())
    }

    fn json(&mut self, file: &str) -> Result<Value, LoadError> {
        let text = self.text(file)?;
        serde_json::from_str(&text)
            .map_err(|error| LoadError::Json { path: self.folder.join(file), message: error.to_string() })
    }

    fn text(&mut self, file: &str) -> Result<String, LoadError> {
        let path = self.file(file)?;
        String::from_utf8(read_file(&path)?).map_err(|error| LoadError::Json { path, message: error.to_string() })
    }

    /// The path of a file in the cache, fetched if need be.
    fn file(&mut self, file: &str) -> Result<PathBuf, LoadError> {
        let expected = self.folder.join(file);
        if expected.exists() {
            return Ok(expected);
        }
        if !self.has(file) {
            return Err(self.error(format!("the repository has no {file}")));
        }
        // Names come from the network: none may lead out of the cache.
        if !Path::new(file).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(self.error(format!("`{file}` is not the name of a file")));
        }
        let report = Report { file, done: 0, total: 0, progress: self.progress };
        let api = self.hub.api.repo(self.repo.clone());
        let found = api.download_with_progress(file, report).map_err(|error| hub_error(self.id, &error))?;
        if found != expected {
            let commit = &self.info.sha;
            return Err(self.error(format!("{file} is not of commit {commit}: the model changed just now, try again")));
        }
        Ok(found)
    }

    fn error(&self, message: String) -> LoadError {
        LoadError::Hub { name: self.id.to_owned(), message }
    }
}

/// Passes on the client's progress of one file.
struct Report<'a> {
    file: &'a str,
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl hf_hub::api::Progress for Report<'_> {
    fn init(&mut self, size: usize, _filename: &str) {
        // Called again for each try, which tells what is there already by `update`.
        (self.done, self.total) = (0, size as u64);
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        (self.progress)(Progress { what: self.file, done: self.done, total: self.total });
    }

    fn finish(&mut self) {}
}

/// Whether it is a disk that fails so, and no connection.
fn is_of_disk(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(kind, PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull)
}

/// Tells a model that is not there from a hub that is not there.
fn hub_error(id: &str, error: &ApiError) -> LoadError {
    match error {
        ApiError::TooManyRetries(last) => hub_error(id, last),
        // Of this machine, not of the network; its message does not say where.
        ApiError::IoError(error) if is_of_disk(error.kind()) => {
            LoadError::Io { path: hub_dir(), error: io::Error::new(error.kind(), error.to_string()) }
        }
        ApiError::RequestError(request) => match **request {
            ureq::Error::StatusCode(status @ (401 | 403 | 404)) => LoadError::UnknownName {
                name: id.to_owned(),
                reason: format!("the hub answers {status}: it has no `{id}`, or not without a token in HF_TOKEN"),
                nearest: names::nearest_models(id),
            },
            _ => LoadError::Hub { name: id.to_owned(), message: request.to_string() },
        },
        _ => LoadError::Hub { name: id.to_owned(), message: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    use webnibble_common::options::{Platform, Settings};
    use webnibble_common::quant::Bits;

    use super::super::testing::{model_files, tiny_model};
    use super::super::{Model, ModelFolder};
    use super::*;

    const COMMIT: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";

    /// A server that speaks the hub's paths for one repository: the listing, files by range, and large files by redirect.
    struct FakeHub {
        endpoint: String,
        requests: Arc<Mutex<Vec<String>>>,
    }

    struct Repository {
        id: &'static str,
        files: BTreeMap<String, Vec<u8>>,
        /// Close the connection in the middle of this file, the first time.
        break_once: Mutex<Option<&'static str>>,
    }

    impl FakeHub {
        fn start(id: &'static str, files: BTreeMap<String, Vec<u8>>) -> FakeHub {
            FakeHub::breaking(id, files, None)
        }

        fn breaking(id: &'static str, files: BTreeMap<String, Vec<u8>>, file: Option<&'static str>) -> FakeHub {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let endpoint = format!("http://{}", listener.local_addr().unwrap());
            let requests = Arc::new(Mutex::new(Vec::new()));
            let repository = Arc::new(Repository { id, files, break_once: Mutex::new(file) });
            let (address, log) = (endpoint.clone(), requests.clone());
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (address, log, repository) = (address.clone(), log.clone(), repository.clone());
                    std::thread::spawn(move || answer(stream, &address, &log, &repository));
                }
            });
            FakeHub { endpoint, requests }
        }

        /// Files whose content was asked for, in order, each once.
        fn fetched(&self) -> Vec<String> {
            let mut files: Vec<String> = Vec::new();
            for request in self.requests.lock().unwrap().iter() {
                if let Some((_, file)) = request.split_once("/resolve/main/")
                    && !files.iter().any(|other| other == file)
                {
                    files.push(file.to_owned());
                }
            }
            files
        }
    }

    /// Answers one request and closes.
    fn answer(mut stream: TcpStream, address: &str, log: &Mutex<Vec<String>>, repository: &Repository) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        let request = lines.next().unwrap_or_default();
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut from = None;
        for line in lines.take_while(|line| !line.is_empty()) {
            if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                let (start, end) = range.split_once('-').unwrap();
                from = Some((start.parse::<usize>().unwrap(), end.parse::<usize>().ok()));
            }
        }
        log.lock().unwrap().push(path.clone());
        let id = repository.id;
        let file_of = |prefix: String| path.strip_prefix(&prefix).and_then(|name| repository.files.get_key_value(name));
        if path == format!("/api/models/{id}/revision/main") {
            let siblings: Vec<Value> =
                repository.files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
            let body = serde_json::json!({"id": id, "sha": COMMIT, "siblings": siblings}).to_string();
            respond(&mut stream, "200 OK", "content-type: application/json\r\n", body.as_bytes());
        } else if let Some((name, content)) = file_of(format!("/{id}/resolve/main/")) {
            let headers = format!("x-repo-commit: {COMMIT}\r\netag: \"etag-{}\"\r\n", name.replace('/', "-"));
            if name.ends_with(".safetensors") {
                let headers = format!("{headers}location: {address}/cdn/{name}\r\n");
                respond(&mut stream, "302 Found", &headers, b"");
            } else {
                respond_range(&mut stream, &headers, content, from);
            }
        } else if let Some((name, content)) = file_of("/cdn/".to_owned()) {
            let whole = from.is_none_or(|(_, end)| end.is_none());
            let breaks = whole && repository.break_once.lock().unwrap().take_if(|file| *file == name).is_some();
            if breaks {
                let length = content.len();
                let head = format!("HTTP/1.1 206 Partial Content\r\ncontent-length: {length}\r\n\r\n");
                stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&content[..length / 2])).unwrap();
                return;
            }
            respond_range(&mut stream, "", content, from);
        } else {
            respond(&mut stream, "404 Not Found", "", b"Repository not found");
        }
    }

    fn respond_range(stream: &mut TcpStream, headers: &str, content: &[u8], range: Option<(usize, Option<usize>)>) {
        let Some((start, end)) = range else { return respond(stream, "200 OK", headers, content) };
        let end = end.map_or(content.len(), |end| end + 1).min(content.len());
        let last = end.saturating_sub(1);
        let headers = format!("{headers}content-range: bytes {start}-{last}/{}\r\n", content.len());
        respond(stream, "206 Partial Content", &headers, &content[start.min(end)..end]);
    }

    fn respond(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
        let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
        // The client hangs up when it knows enough.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    }

    fn repository() -> BTreeMap<String, Vec<u8>> {
        let mut files = model_files(&tiny_model());
        for extra in ["README.md", "pytorch_model.bin", "onnx/model.onnx", "vocab.txt"] {
            files.insert(extra.to_owned(), b"not needed".to_vec());
        }
        files
    }

    #[test]
    fn a_model_is_fetched_once_and_only_what_it_needs() {
        let (hub, cache) = (FakeHub::start("org/tiny", repository()), tempfile::tempdir().unwrap());
        let mut seen = BTreeMap::new();
        let mut progress = |p: Progress<'_>| {
            assert!(p.done <= p.total, "{p:?}");
            seen.insert(p.what.to_owned(), (p.done, p.total));
        };
        let folder = Hub::at(&hub.endpoint, cache.path()).unwrap().fetch("org/tiny", &mut progress).unwrap().folder;
        let needed = [
            "config.json",
            "modules.json",
            "1_Pooling/config.json",
            "sentence_bert_config.json",
            "tokenizer.json",
            "model.safetensors",
        ];
        assert_eq!(hub.fetched(), needed);
        let size = repository()["model.safetensors"].len() as u64;
        assert_eq!(seen["model.safetensors"], (size, size));
        let model = ModelFolder::open(&folder, "tiny").unwrap();
        assert!(model.sentence.is_some() && model.tokenizer.is_some());

        let before = hub.requests.lock().unwrap().len();
        let again = Hub::at(&hub.endpoint, cache.path()).unwrap().fetch("org/tiny", &mut |_| {}).unwrap().folder;
        assert_eq!(again, folder);
        let requests = hub.requests.lock().unwrap();
        assert_eq!(requests[before..], ["/api/models/org/tiny/revision/main"]);
    }

    #[test]
    fn a_cached_model_does_without_the_hub() {
        let cache = tempfile::tempdir().unwrap();
        let hub = FakeHub::start("org/tiny", repository());
        let folder = Hub::at(&hub.endpoint, cache.path()).unwrap().fetch("org/tiny", &mut |_| {}).unwrap().folder;
        // Nobody listens on a port that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let away = Hub::at(&format!("http://{port}"), cache.path()).unwrap();
        assert_eq!(away.fetch("org/tiny", &mut |_| {}).unwrap().folder, folder);
        let error = away.fetch("org/other", &mut |_| {}).unwrap_err();
        assert!(matches!(error, LoadError::Hub { .. }), "{error}");
        std::fs::remove_file(folder.join("model.safetensors")).unwrap();
        assert!(matches!(away.fetch("org/tiny", &mut |_| {}), Err(LoadError::Hub { .. })));
    }

    #[test]
    fn a_broken_connection_is_taken_up_where_it_broke() {
        let cache = tempfile::tempdir().unwrap();
        let hub = FakeHub::breaking("org/tiny", repository(), Some("model.safetensors"));
        let folder = Hub::at(&hub.endpoint, cache.path()).unwrap().fetch("org/tiny", &mut |_| {}).unwrap().folder;
        assert_eq!(std::fs::read(folder.join("model.safetensors")).unwrap(), repository()["model.safetensors"]);
    }

    #[test]
    fn a_name_that_the_hub_does_not_have_is_an_unknown_one() {
        let (hub, cache) = (FakeHub::start("org/tiny", repository()), tempfile::tempdir().unwrap());
        let hub = Hub::at(&hub.endpoint, cache.path()).unwrap();
        let error = hub.fetch("someone/bert-base-uncase", &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("the hub answers 404"), "{error}");
        assert!(error.contains("did you mean bert-base-uncased"), "{error}");
    }

    #[test]
    fn a_family_that_is_not_known_is_found_out_before_the_weights_come() {
        let mut files = repository();
        files.insert("config.json".into(), br#"{"model_type": "gpt_neox"}"#.to_vec());
        let (hub, cache) = (FakeHub::start("org/tiny", files), tempfile::tempdir().unwrap());
        let error = Hub::at(&hub.endpoint, cache.path()).unwrap().fetch("org/tiny", &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("model family `gpt_neox` is not known; the families are: bert"), "{error}");
        assert_eq!(hub.fetched(), ["config.json"]);
    }

    /// A repository as those are that were made for transformers.js.
    fn onnx_repository() -> BTreeMap<String, Vec<u8>> {
        let mut files = repository();
        files.remove("model.safetensors");
        for extra in
            ["onnx/model_quantized.onnx", "onnx/model.onnx_data", "onnx/model_q4f16.onnx", "tokenizer_config.json"]
        {
            files.insert(extra.to_owned(), extra.into());
        }
        files
    }

    #[test]
    fn of_a_model_in_onnx_form_alone_the_file_that_is_wanted_is_fetched() {
        let (hub, cache) = (FakeHub::start("org/tiny", onnx_repository()), tempfile::tempdir().unwrap());
        let connect = || Hub::at(&hub.endpoint, cache.path());
        let Fetched { folder, on_hub } = connect().unwrap().fetch("org/tiny", &mut |_| {}).unwrap();
        let fetched = hub.fetched();
        assert!(fetched.contains(&"tokenizer_config.json".to_owned()), "{fetched:?}");
        assert!(!fetched.iter().any(|file| file.contains("onnx")), "{fetched:?}");

        let model = OnnxModel::open(&folder, "tiny", on_hub).unwrap();
        let files: Vec<_> = model.files.iter().map(|file| (file.name.as_str(), file.bits)).collect();
        assert_eq!(files, [("onnx/model.onnx", Bits::B32), ("onnx/model_quantized.onnx", Bits::B8)]);
        let bits = |chosen, platform| {
            let chosen = Settings { bits: chosen, ..Settings::default() };
            model.settings_for(&chosen, platform).map(|settings| settings.bits).map_err(|error| error.to_string())
        };
        assert_eq!(bits(None, Platform::Webnn), Ok(Some(Bits::B8)));
        assert_eq!(bits(None, Platform::Webgpu), Ok(Some(Bits::B32)));
        assert_eq!(bits(Some(Bits::B32), Platform::Wasm), Ok(Some(Bits::B32)));
        let error = bits(Some(Bits::B16), Platform::Wasm).unwrap_err();
        assert!(error.ends_with("expected an ONNX file with weights of 16 bits, found 32, 8"), "{error}");

        let file = model.facts_by(connect, Bits::B32, &mut |_| {}).unwrap();
        assert_eq!(file.path, folder.join("onnx/model.onnx"));
        assert_eq!(hub.fetched()[fetched.len()..], ["onnx/model.onnx", "onnx/model.onnx_data"]);
        // Once more it is there, also where the hub is not, and so is what the next page load finds.
        let away = || Err(LoadError::Hub { name: "asked".into(), message: "no network".into() });
        assert_eq!(model.facts_by(away, Bits::B32, &mut |_| {}).unwrap().header, file.header);
        let Ok(Model::Onnx(again)) = Model::open(&folder, "tiny") else { panic!("it has an ONNX form alone") };
        assert_eq!(again.files.len(), 1);
        assert!(matches!(model.facts_by(away, Bits::B8, &mut |_| {}), Err(LoadError::Hub { .. })));
    }

    #[test]
    fn weights_in_another_form_are_told_so() {
        let mut files = repository();
        files.remove("model.safetensors");
        files.remove("onnx/model.onnx");
        let (hub, cache) = (FakeHub::start("org/tiny", files), tempfile::tempdir().unwrap());
        let error = Hub::at(&hub.endpoint, cache.path()).unwrap().fetch("org/tiny", &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("no ONNX form for transformers.js"), "{error}");
    }

    /// Set in the process that [`the_environment_names_hub_and_cache`] starts, with itself alone to run.
    const CHILD: &str = "WEBNIBBLE_TEST_HUB_CHILD";

    #[test]
    fn the_environment_names_hub_and_cache() {
        if std::env::var_os(CHILD).is_some() {
            let Model::Folder(folder) = Model::load("org/tiny", &mut |_| {}).unwrap() else { panic!("a folder") };
            assert_eq!(folder.name, "org/tiny");
            return;
        }
        let (hub, home) = (FakeHub::start("org/tiny", repository()), tempfile::tempdir().unwrap());
        // Variables cannot be set safely in a process with threads, so another one gets them.
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "loader::hub::tests::the_environment_names_hub_and_cache", "--nocapture"])
            .envs([(CHILD, "1"), ("HF_ENDPOINT", &hub.endpoint)])
            .env("HF_HOME", home.path())
            .env("WEBNIBBLE_MODELS", home.path().join("models"))
            .status()
            .unwrap();
        assert!(status.success());
        assert_eq!(hub.fetched().len(), 6);
        assert!(home.path().join("hub/models--org--tiny/snapshots").join(COMMIT).join("config.json").exists());
    }
}
