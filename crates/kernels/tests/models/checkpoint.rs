//! Reading checkpoints into weights, for tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use webnibble_common::graph::{Graph, Role};
use webnibble_common::quant::{Format, Quantizer};
use webnibble_common::tensor::Tensor;
use webnibble_common::weights::{WeightData, WeightMap};
use webnibble_models::{ModelConfig, checkpoint};

/// The f32 tensors of a file, by name.
pub(crate) struct Checkpoint(BTreeMap<String, Vec<f32>>);

impl Checkpoint {
    pub(crate) fn read(file: &Path) -> Self {
        let bytes = std::fs::read(file).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
        let floats = tensors.into_iter().filter(|(_, view)| view.dtype() == Dtype::F32);
        Self(floats.map(|(name, view)| (name, floats_of(view.data()))).collect())
    }

    /// The same tensors under other names.
    pub(crate) fn renamed(self, rename: impl Fn(&str) -> String) -> Self {
        Self(self.0.into_iter().map(|(name, values)| (rename(&name), values)).collect())
    }

    /// The same tensors without one.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.remove(name).unwrap();
        self
    }

    /// Whether there is a tensor for a source of a graph.
    pub(crate) fn has(&self, source: &str) -> bool {
        checkpoint::resolve(|name| self.0.contains_key(name), source).is_some()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// The weights of `graph`, its sources stacked, matrices in the format of their role.
    pub(crate) fn weights(&self, graph: &Graph, format: impl Fn(Role) -> Format) -> WeightMap {
        let tensor = |source: &String| {
            let name = checkpoint::resolve(|name| self.0.contains_key(name), source);
            &self.0[&name.unwrap_or_else(|| panic!("{source}: none of {:?}", checkpoint::looked_for(source)))]
        };
        let weight = |weight: &webnibble_common::graph::Weight| {
            let values: Vec<f32> = weight.sources.iter().flat_map(tensor).copied().collect();
            let data = match weight.role {
                Role::Vector => WeightData::Vector(values),
                role => {
                    WeightData::Matrix(Quantizer::for_format(format(role)).quantize(&values, &weight.shape).unwrap())
                }
            };
            (weight.name.clone(), data)
        };
        graph.weights.iter().map(weight).collect()
    }
}

/// Inputs (`in.*`) and outputs (`out.*`) of a golden, without these prefixes.
pub(crate) fn read_io(file: &Path) -> (Vec<(String, Tensor)>, BTreeMap<String, Tensor>) {
    let bytes = std::fs::read(file).unwrap();
    let (mut inputs, mut outputs) = (Vec::new(), BTreeMap::new());
    for (name, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        if let Some(name) = name.strip_prefix("in.") {
            inputs.push((name.to_owned(), tensor_of(&view)));
        } else if let Some(name) = name.strip_prefix("out.") {
            outputs.insert(name.to_owned(), tensor_of(&view));
        }
    }
    (inputs, outputs)
}

fn tensor_of(view: &TensorView<'_>) -> Tensor {
    match view.dtype() {
        Dtype::I64 => ids_of(view),
        _ => Tensor::f32(view.shape(), floats_of(view.data())).unwrap(),
    }
}

fn ids_of(view: &TensorView<'_>) -> Tensor {
    let ids = view.data().as_chunks::<8>().0.iter().map(|b| u32::try_from(i64::from_le_bytes(*b)).unwrap());
    Tensor::u32(view.shape(), ids.collect()).unwrap()
}

fn floats_of(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// The config of a model's folder.
pub(crate) fn config(folder: &Path) -> ModelConfig {
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    ModelConfig::from_json(&serde_json::from_str(&text).unwrap()).unwrap()
}

/// The folder of all-MiniLM-L6-v2, or why there is none.
pub(crate) fn mini_lm() -> Result<PathBuf, String> {
    let models = std::env::var_os("WEBNIBBLE_MODELS").map(PathBuf::from).or_else(|| {
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
        cache.map(|cache| cache.join("webnibble/models"))
    });
    let folder = models.ok_or("no home directory")?.join("all-MiniLM-L6-v2");
    if folder.is_dir() {
        Ok(folder)
    } else {
        Err(format!("{} is not there: scripts/fetch-models.sh", folder.display()))
    }
}
