//! Models of the hub, fetched by its ordinary client into its ordinary cache.
//!
//! Only the files that a model needs are fetched, small ones first: a family that nobody knows, or weights in a form that
//! is not read, are found out before the gigabytes come.

use std::io;
use std::path::{Component, Path, PathBuf};

use hf_hub::api::RepoInfo;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};
use webnibble_common::stand_in::StandIn;
use webnibble_models::sentence::Modules;
use webnibble_models::tokenizer_files::{TOKENIZER, TOKENIZER_CONFIG, VOCAB};
use webnibble_models::{ModelConfig, refuse_heads};

use super::checkpoint::{INDEX, SINGLE, shard_names};
use super::error::LoadError;
use super::folder::{CONFIG, MODULES, has_weights, is_needed, prefix_of, weights_folder};
use super::hub_env::{HubEnv, hub_dir};
use super::names;
use super::onnx_files::{OnHub, has_onnx, onnx_files};
use super::progress::Progress;
use super::text_file::{parse_json, read_text, refuse_stand_in};

/// Further tries at a file whose connection broke.
const RETRIES: usize = 2;

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
    /// The variable that says not to ask.
    offline: Option<&'static str>,
}

impl Hub {
    /// The hub as the environment has it: `HF_ENDPOINT`, `HF_HUB_CACHE` and `HF_HOME` for the cache, a token from `HF_TOKEN`
    /// or of the hub's own login, and `HF_HUB_OFFLINE`.
    pub fn from_env() -> Result<Hub, LoadError> {
        Hub::build(HubEnv::read())
    }

    /// The hub at an address, with a cache of its own.
    pub fn at(endpoint: &str, cache_dir: &Path) -> Result<Hub, LoadError> {
        let (cache, endpoint) = (cache_dir.to_owned(), Some(endpoint.to_owned()));
        Hub::build(HubEnv { cache, endpoint, offline: None, ..HubEnv::read() })
    }

    fn build(env: HubEnv) -> Result<Hub, LoadError> {
        let cache = Cache::new(env.cache);
        let builder = ApiBuilder::from_cache(cache.clone()).with_progress(false).with_retries(RETRIES);
        let builder = builder.with_token(env.token).with_user_agent("webnibble", env!("CARGO_PKG_VERSION"));
        let builder = env.endpoint.into_iter().fold(builder, ApiBuilder::with_endpoint);
        let api = builder.build().map_err(|error| hub_error("hub", &error))?;
        Ok(Hub { api, cache, offline: env.offline })
    }

    /// Fetches what is not in the cache yet of a model; of one that has only an ONNX form, the small files. A name may end
    /// in `@` and a revision: a branch, a tag or a commit. When the hub cannot be reached, or is not to be asked, a model
    /// that is in the cache as a whole is taken as it is.
    ///
    /// # Errors
    /// [`LoadError::UnknownName`] when the hub has no such model, [`LoadError::Hub`] when it cannot be reached,
    /// [`LoadError::Offline`] when it is not to be asked, and the errors of the model's configuration.
    pub fn fetch(&self, name: &str, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Fetched, LoadError> {
        let repo = repo_of(name);
        let taken = |folder| Fetched { folder, on_hub: None };
        match self.begin(name, progress) {
            Ok(fetch) => fetch.all(),
            Err(not_asked @ LoadError::Offline { .. }) => self.cached(&repo).map(taken).ok_or(not_asked),
            Err(unreachable @ LoadError::Hub { .. }) => {
                let folder = self.cached(&repo).ok_or(unreachable)?;
                tracing::warn!("the hub cannot be reached: taking the model as it is in {}", folder.display());
                Ok(taken(folder))
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
        name: &str,
        files: &[&str],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), LoadError> {
        let mut fetch = self.begin(name, progress)?;
        files.iter().try_for_each(|file| fetch.file(file).map(drop))
    }

    fn begin<'a>(&'a self, name: &'a str, progress: &'a mut dyn FnMut(Progress<'_>)) -> Result<Fetch<'a>, LoadError> {
        self.refuse_offline(name)?;
        let repo = repo_of(name);
        let info = self.info(name, &repo)?;
        let folder = self.cache.repo(repo.clone()).pointer_path(&info.sha);
        Ok(Fetch { hub: self, name, repo, folder, info, progress })
    }

    fn refuse_offline(&self, name: &str) -> Result<(), LoadError> {
        match self.offline {
            Some(variable) => {
                Err(LoadError::Offline { name: name.to_owned(), cache: self.cache.path().clone(), variable })
            }
            None => Ok(()),
        }
    }

    /// The commit and the files of a repository.
    fn info(&self, name: &str, repo: &Repo) -> Result<RepoInfo, LoadError> {
        let wrong = |message: String| LoadError::Hub { name: name.to_owned(), message };
        let answer = self.api.repo(repo.clone()).info_request().call();
        let mut answer = answer.map_err(|error| hub_error(name, &ApiError::RequestError(Box::new(error))))?;
        let text = answer.body_mut().read_to_string().map_err(|error| wrong(error.to_string()))?;
        let info: RepoInfo = serde_json::from_str(&text).map_err(|error| match StandIn::of(text.as_bytes()) {
            Some(_) => {
                wrong("its address answers with an HTML page, so it is not a hub's, or a proxy is before it".into())
            }
            None => wrong(format!("its address answers with something that is no list of files: {error}")),
        })?;
        // It becomes the name of a folder.
        match is_commit(&info.sha) {
            true => Ok(info),
            false => Err(wrong(format!("its address answers with `{}`, which is no commit", info.sha))),
        }
    }

    /// The cached folder of a model, where its weights are all there.
    fn cached(&self, repo: &Repo) -> Option<PathBuf> {
        let cached = self.cache.repo(repo.clone());
        let folder = match is_commit(repo.revision()) {
            true => cached.pointer_path(repo.revision()),
            false => cached.pointer_path(std::fs::read_to_string(self.ref_path(repo)).ok()?.trim()),
        };
        let weights = weights_folder(&folder);
        let whole = match std::fs::read_to_string(weights.join(INDEX)) {
            Ok(index) => shard_names(&index).ok()?.keys().all(|shard| weights.join(shard).exists()),
            Err(_) => weights.join(SINGLE).exists() || !has_weights(&folder) && has_onnx(&folder),
        };
        (whole && weights.join(CONFIG).exists()).then_some(folder)
    }

    /// Where the cache keeps the commit of a revision.
    fn ref_path(&self, repo: &Repo) -> PathBuf {
        self.cache.path().join(repo.folder_name()).join("refs").join(repo.revision())
    }
}

/// The repository of a name, at its revision: `main` where it has none.
fn repo_of(name: &str) -> Repo {
    let (id, revision) = name.split_once('@').unwrap_or((name, "main"));
    Repo::with_revision(id.to_owned(), RepoType::Model, revision.to_owned())
}

/// Whether a revision is a commit by its whole name.
fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// One model being fetched.
struct Fetch<'a> {
    hub: &'a Hub,
    /// As it was asked for, with its revision.
    name: &'a str,
    repo: Repo,
    /// Where the files of the commit lie in the cache.
    folder: PathBuf,
    info: RepoInfo,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl Fetch<'_> {
    fn all(mut self) -> Result<Fetched, LoadError> {
        let modules = self.modules()?;
        let inner = prefix_of(modules.as_ref().map_or("", |modules| modules.transformer.as_str()));
        self.check_config(&format!("{inner}{CONFIG}"), modules.is_some())?;
        let on_hub = self.onnx_alone(&inner);
        let shards = if on_hub.is_some() { vec![TOKENIZER_CONFIG.to_owned()] } else { self.shards(&inner)? };
        let files = self.info.siblings.iter().map(|sibling| sibling.rfilename.clone());
        // A vocabulary says nothing that a tokenizer beside it does not say.
        let is_read = |file: &String| {
            let tokenizer = file.strip_suffix(VOCAB).map(|folder| format!("{folder}{TOKENIZER}"));
            !tokenizer.is_some_and(|tokenizer| self.has(&tokenizer))
        };
        let mut needed: Vec<String> =
            files.filter(|file| is_needed(file, modules.as_ref(), &shards) && is_read(file)).collect();
        needed.sort_by_key(|file| file.ends_with(".safetensors"));
        for file in needed {
            self.file(&file)?;
        }
        Ok(Fetched { folder: self.folder, on_hub })
    }

    /// Finds out before the gigabytes come that a model is none that runs.
    fn check_config(&mut self, file: &str, is_sentence_model: bool) -> Result<(), LoadError> {
        let text = self.text(file)?;
        let config = parse_json(&self.folder.join(file), &text)?;
        let known = ModelConfig::from_json(&config).and_then(|_| match is_sentence_model {
            true => Ok(()),
            false => refuse_heads(&config, []),
        });
        known.map_err(|error| LoadError::Model { path: self.folder.clone(), error })
    }

    /// The ONNX files of a repository that has no weights in another form that is read.
    fn onnx_alone(&self, inner: &str) -> Option<OnHub> {
        let weights = [SINGLE, INDEX].iter().any(|name| self.has(&format!("{inner}{name}")));
        if weights || onnx_files(|name| self.has(name)).next().is_none() {
            return None;
        }
        let names = self.info.siblings.iter().map(|sibling| sibling.rfilename.clone());
        Some(OnHub { id: self.name.to_owned(), files: names.filter(|name| name.contains(".onnx")).collect() })
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

    /// Names of the shards; none of a model in one file. `inner` stands before the names of the weights' files.
    fn shards(&mut self, inner: &str) -> Result<Vec<String>, LoadError> {
        if self.has(&format!("{inner}{SINGLE}")) {
            return Ok(Vec::new());
        }
        let index = format!("{inner}{INDEX}");
        if !self.has(&index) {
            let message = format!("it has neither {inner}{SINGLE} nor {index}, and no ONNX form for transformers.js");
            return Err(self.error(message));
        }
        let text = self.text(&index)?;
        let shards =
            shard_names(&text).map_err(|message| LoadError::Json { path: self.folder.join(&index), message })?;
        Ok(shards.into_keys().collect())
    }

    fn text(&mut self, file: &str) -> Result<String, LoadError> {
        let path = self.file(file)?;
        read_text(&path)
    }

    /// The path of a file in the cache, fetched if need be.
    fn file(&mut self, file: &str) -> Result<PathBuf, LoadError> {
        let expected = self.folder.join(file);
        if expected.exists() {
            match refuse_stand_in(&expected) {
                // Kept by whoever asked before: it is asked for again.
                Err(LoadError::StandIn { .. }) => discard(&expected)?,
                checked => return checked.map(|()| expected),
            }
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
        let found = api.download_with_progress(file, report).map_err(|error| hub_error(self.name, &error))?;
        refuse_stand_in(&found).or_else(|error| discard(&found).and(Err(error)))?;
        if found != expected {
            let commit = &self.info.sha;
            return Err(self.error(format!("{file} is not of commit {commit}: the model changed just now, try again")));
        }
        Ok(found)
    }

    fn error(&self, message: String) -> LoadError {
        LoadError::Hub { name: self.name.to_owned(), message }
    }
}

/// Takes a file out of the cache, with what it is a link to.
fn discard(path: &Path) -> Result<(), LoadError> {
    let wrong = |error| LoadError::io(path, error);
    let blob = path.canonicalize().map_err(wrong)?;
    std::fs::remove_file(path).map_err(wrong)?;
    match std::fs::remove_file(&blob) {
        // Without links the file itself lies in the cache, and is gone already.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(wrong(error)),
        _ => Ok(()),
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
        ApiError::MissingHeader(header) => {
            let message =
                format!("an answer has no header {header}, so its address is not a hub's, or a proxy is before it");
            LoadError::Hub { name: id.to_owned(), message }
        }
        _ => LoadError::Hub { name: id.to_owned(), message: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use webnibble_common::options::{Platform, Settings};
    use webnibble_common::quant::Bits;

    use super::super::testing::{model_files, tiny_model};
    use super::super::{Model, ModelFolder, OnnxModel};
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
        let revision = if path.contains("v1.0") { "v1.0" } else { "main" };
        if path == format!("/api/models/{id}/revision/{revision}") {
            let siblings: Vec<Value> =
                repository.files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
            let body = serde_json::json!({"id": id, "sha": COMMIT, "siblings": siblings}).to_string();
            respond(&mut stream, "200 OK", "content-type: application/json\r\n", body.as_bytes());
        } else if let Some((name, content)) = file_of(format!("/{id}/resolve/{revision}/")) {
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

    fn env_of(hub: &FakeHub, cache: &Path) -> HubEnv {
        HubEnv { cache: cache.to_owned(), endpoint: Some(hub.endpoint.clone()), token: None, offline: None }
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
            "modules.json",
            "config.json",
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
        assert_eq!(hub.fetched(), ["modules.json", "config.json"]);
    }

    #[test]
    fn a_head_is_found_out_before_the_weights_come() {
        let mut files = repository();
        files.remove("modules.json");
        files.insert("config.json".into(), br#"{"architectures": ["BertForSequenceClassification"]}"#.to_vec());
        let (hub, cache) = (FakeHub::start("org/tiny", files), tempfile::tempdir().unwrap());
        let error = Hub::at(&hub.endpoint, cache.path()).unwrap().fetch("org/tiny", &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("cross-encoder"), "{error}");
        assert_eq!(hub.fetched(), ["config.json"]);
    }

    #[test]
    fn a_name_may_have_a_revision() {
        let (hub, cache) = (FakeHub::start("org/tiny", repository()), tempfile::tempdir().unwrap());
        let connected = Hub::at(&hub.endpoint, cache.path()).unwrap();
        let folder = connected.fetch("org/tiny@v1.0", &mut |_| {}).unwrap().folder;
        assert!(hub.requests.lock().unwrap().contains(&"/api/models/org/tiny/revision/v1.0".to_owned()));
        assert_eq!(hub.fetched(), Vec::<String>::new(), "none of main");
        assert!(ModelFolder::open(&folder, "tiny").is_ok());
        // What main has is another matter.
        let error = connected.fetch("org/tiny@absent", &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("it has no `org/tiny@absent`"), "{error}");
        // A commit is found in the cache by its own name.
        let away = Hub::build(HubEnv { offline: Some("HF_HUB_OFFLINE"), ..env_of(&hub, cache.path()) }).unwrap();
        for revision in ["v1.0", COMMIT] {
            assert_eq!(away.fetch(&format!("org/tiny@{revision}"), &mut |_| {}).unwrap().folder, folder);
        }
        assert!(away.fetch("org/tiny", &mut |_| {}).is_err(), "main was not fetched");
    }

    #[test]
    fn a_hub_that_is_not_to_be_asked_is_not() {
        let (hub, cache) = (FakeHub::start("org/tiny", repository()), tempfile::tempdir().unwrap());
        let env = env_of(&hub, cache.path());
        let offline = Hub::build(HubEnv { offline: Some("HF_HUB_OFFLINE"), ..env }).unwrap();
        let error = offline.fetch("org/tiny", &mut |_| {}).unwrap_err().to_string();
        assert!(
            error.starts_with("`org/tiny` is not in the hub's cache ") && error.contains("HF_HUB_OFFLINE"),
            "{error}"
        );
        assert!(hub.requests.lock().unwrap().is_empty());

        let folder = Hub::at(&hub.endpoint, cache.path()).unwrap().fetch("org/tiny", &mut |_| {}).unwrap().folder;
        let before = hub.requests.lock().unwrap().len();
        assert_eq!(offline.fetch("org/tiny", &mut |_| {}).unwrap().folder, folder);
        let error = offline.fetch_files("org/tiny", &["onnx/model.onnx"], &mut |_| {}).unwrap_err();
        assert!(matches!(error, LoadError::Offline { .. }), "{error}");
        assert_eq!(hub.requests.lock().unwrap().len(), before);
    }

    #[test]
    fn a_page_in_the_place_of_a_file_is_named_and_not_kept() {
        let mut files = repository();
        let page = b"<!DOCTYPE html><title>Sign in</title>".to_vec();
        let weights = files.insert("model.safetensors".into(), page).unwrap();
        let cache = tempfile::tempdir().unwrap();
        let fetch = |files| {
            let hub = FakeHub::start("org/tiny", files);
            Hub::at(&hub.endpoint, cache.path()).unwrap().fetch("org/tiny", &mut |_| {})
        };
        let error = fetch(files.clone()).unwrap_err().to_string();
        assert!(error.ends_with("model.safetensors: this is an HTML page, and not the file itself"), "{error}");
        files.insert("model.safetensors".into(), weights);
        let folder = fetch(files).unwrap().folder;
        assert!(ModelFolder::open(&folder, "tiny").is_ok());
    }

    #[test]
    fn an_address_that_is_no_hub_is_told_so() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = BufReader::new(stream.try_clone().unwrap()).read_line(&mut String::new());
                respond(&mut stream, "200 OK", "content-type: text/html\r\n", b"<!DOCTYPE html><p>Welcome</p>");
            }
        });
        let cache = tempfile::tempdir().unwrap();
        let error = Hub::at(&endpoint, cache.path()).unwrap().fetch("org/tiny", &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("answers with an HTML page"), "{error}");
    }

    #[test]
    fn the_transformer_may_lie_in_a_folder_of_its_own() {
        let mut files = repository();
        for file in ["config.json", "tokenizer.json", "sentence_bert_config.json", "model.safetensors"] {
            let content = files.remove(file).unwrap();
            files.insert(format!("0_Transformer/{file}"), content);
        }
        let modules =
            String::from_utf8(files["modules.json"].clone()).unwrap().replacen("\"\"", "\"0_Transformer\"", 1);
        files.insert("modules.json".into(), modules.into_bytes());
        files.insert("config.json".into(), br#"{"__version__": "0.3.8"}"#.to_vec());
        let (hub, cache) = (FakeHub::start("org/tiny", files), tempfile::tempdir().unwrap());
        let folder = Hub::at(&hub.endpoint, cache.path()).unwrap().fetch("org/tiny", &mut |_| {}).unwrap().folder;
        let model = ModelFolder::open(&folder, "tiny").unwrap();
        assert_eq!(model.transformer, folder.join("0_Transformer"));
        assert_eq!(model.sentence.unwrap().max_seq_length, Some(12));
        assert!(model.tokenizer.is_some());
    }

    /// A repository as those are that were made for transformers.js.
    fn onnx_repository() -> BTreeMap<String, Vec<u8>> {
        let mut files = repository();
        files.remove("model.safetensors");
        for extra in
            ["onnx/model_quantized.onnx", "onnx/model.onnx_data", "onnx/model_q4f16.onnx", "tokenizer_config.json"]
        {
            let content = if extra == TOKENIZER_CONFIG { "{}" } else { extra };
            files.insert(extra.to_owned(), content.into());
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
