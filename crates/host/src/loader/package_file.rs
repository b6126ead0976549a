//! A package on disk.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use webnibble_common::graph::Graph;
use webnibble_common::package::{Header, PackageError, Parsed, Part, Plane};
use webnibble_common::weights::WeightMap;
use webnibble_models::{ModelConfig, refuse_heads};

use super::LoadError;

/// A package whose header was read and checked; planes are read when asked for.
#[derive(Clone, Debug)]
pub struct PackageFile {
    /// The file.
    pub path: PathBuf,
    /// What it says of itself.
    pub header: Header,
    /// Its family and dimensions.
    pub config: ModelConfig,
    /// The model's graph, with every output that the package has weights for.
    pub graph: Graph,
}

impl PackageFile {
    /// The longest input in tokens, special ones included.
    pub fn max_tokens(&self) -> usize {
        self.header.meta.max_tokens(self.config.max_positions())
    }

    /// Opens a package: reads the header, checks it, the file's length, and that every weight of the graph is there in
    /// the right shape.
    pub fn open(path: &Path) -> Result<PackageFile, LoadError> {
        let header = read_header(path)?;
        let wrong = |error| LoadError::Model { path: path.to_owned(), error };
        let config = ModelConfig::from_json(&header.meta.config).map_err(wrong)?;
        if header.meta.sentence.is_none() {
            refuse_heads(&header.meta.config, []).map_err(wrong)?;
        }
        config.check_counts(&|name| Some(header.tensor(name)?.shape.clone())).map_err(wrong)?;
        let graph = config.graph_over(header.meta.sentence.as_ref(), &|name| header.tensor(name).is_some());
        for weight in &graph.weights {
            let expected = format!("{:?}", weight.shape);
            match header.tensor(&weight.name) {
                Some(tensor) if tensor.shape == weight.shape => {}
                Some(tensor) => {
                    let (path, tensor, found) = (path.to_owned(), weight.name.clone(), format!("{:?}", tensor.shape));
                    return Err(LoadError::Shape { path, tensor, expected, found });
                }
                None => {
                    return Err(LoadError::MissingTensor {
                        path: path.to_owned(),
                        tensor: weight.name.clone(),
                        expected,
                        looked_for: vec![weight.name.clone()],
                        found: format!("{} others", header.meta.tensors.len()),
                    });
                }
            }
        }
        Ok(PackageFile { path: path.to_owned(), header, config, graph })
    }

    /// Every weight, each plane's digest checked.
    pub fn read_weights(&self) -> Result<WeightMap, LoadError> {
        let mut file = self.file()?;
        let header = &self.header;
        let mut read = |tensor: &str, part| match header.plane(tensor, part) {
            Some(plane) => self.read_plane(&mut file, plane),
            None => Ok(Vec::new()),
        };
        let mut weights = WeightMap::new();
        for name in header.meta.tensors.keys() {
            let (packed, scale, zero) = (read(name, Part::Packed)?, read(name, Part::Scale)?, read(name, Part::Zero)?);
            let weight = header.weight(name, packed, &scale, &zero).map_err(|error| self.error(error))?;
            weights.insert(name.clone(), weight);
        }
        Ok(weights)
    }

    /// The bytes of an extra such as the tokenizer, without padding; `None` when there is no such extra.
    pub fn read_extra(&self, name: &str) -> Result<Option<Vec<u8>>, LoadError> {
        let header = &self.header;
        let (Some(plane), Some(bytes)) = (header.plane(name, Part::Extra), header.extras.get(name)) else {
            return Ok(None);
        };
        let mut content = self.read_plane(&mut self.file()?, plane)?;
        content.truncate(*bytes as usize);
        Ok(Some(content))
    }

    /// Reads the whole file, and checks every plane's bytes against its digest.
    ///
    /// # Errors
    /// What the first damaged plane should be and is, or that the file cannot be read.
    pub fn check(&self) -> Result<(), LoadError> {
        let mut file = self.file()?;
        for plane in &self.header.planes {
            let mut hash = Sha256::new();
            file.seek(SeekFrom::Start(plane.begin))
                .and_then(|_| std::io::copy(&mut file.by_ref().take(plane.bytes()), &mut hash))
                .map_err(|error| LoadError::io(&self.path, error))?;
            plane.verify_digest(&hash.finalize()).map_err(|error| self.error(error))?;
        }
        Ok(())
    }

    fn file(&self) -> Result<File, LoadError> {
        File::open(&self.path).map_err(|error| LoadError::io(&self.path, error))
    }

    fn read_plane(&self, file: &mut File, plane: &Plane) -> Result<Vec<u8>, LoadError> {
        let mut bytes = vec![0; plane.bytes() as usize];
        file.seek(SeekFrom::Start(plane.begin))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|error| LoadError::io(&self.path, error))?;
        plane.verify(&bytes).map_err(|error| self.error(error))?;
        Ok(bytes)
    }

    fn error(&self, error: PackageError) -> LoadError {
        LoadError::package(&self.path, error)
    }
}

fn read_header(path: &Path) -> Result<Header, LoadError> {
    let io = |error| LoadError::io(path, error);
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut prefix = Vec::new();
    file.by_ref().take(8).read_to_end(&mut prefix).map_err(io)?;
    if prefix.starts_with(b"GGUF") {
        let message = "expected a package, found a GGUF file: make one of it with `webnibble quantize`";
        return Err(LoadError::not_a_model(path, message));
    }
    let package = |error| LoadError::package(path, error);
    loop {
        match Header::parse(&prefix).map_err(package)? {
            Parsed::Header(header) => {
                header.check_length(length).map_err(package)?;
                return Ok(*header);
            }
            Parsed::NeedMore { bytes } if bytes as u64 > length => {
                return Err(LoadError::TruncatedHeader {
                    path: path.to_owned(),
                    expected: bytes as u64,
                    found: length,
                });
            }
            Parsed::NeedMore { bytes } => {
                let more = (bytes - prefix.len()) as u64;
                file.by_ref().take(more).read_to_end(&mut prefix).map_err(io)?;
            }
        }
    }
}
