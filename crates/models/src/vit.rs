//! ViT (Dosovitskiy et al., 2021): an encoder of image patches with learned positions, normalization before each block and GELU.
//!
//! Patches do not overlap, so their convolution is a linear operator over the unfolded image. A layer is seven operators:
//! normalization, Q, K and V in one product, attention, output projection with its residual, normalization, and the two products
//! of the feed-forward block, the second with its residual.

use webnibble_common::graph::{
    Activation, Attention, ClassToken, Columns, Dim, Graph, Linear, Norm, Normalization, Patches, Pool, Pooling, Role,
    ValueId, WeightId,
};
use webnibble_common::tensor::{DType, element_count, without_leading_ones};

use crate::counts::{Count, ShapeOf, check_layers, check_matrix};
use crate::error::ModelError;
use crate::fields::{Fields, MOST, MOST_LAYERS, wrong};
use crate::hidden::{LAST_HIDDEN_STATE, hidden_state};
use crate::labels;
use crate::llama::LOGITS;

/// What ViT checkpoints with a head put before the encoder's tensor names.
pub(crate) const PREFIX: &str = "vit.";

/// Architectures whose answer is what a graph here makes: labels, or hidden states.
pub(crate) const ARCHITECTURES: &[&str] = &["ViTForImageClassification", BASE];

/// The architecture without the head.
const BASE: &str = "ViTModel";

/// Name of the input, f32 `[batch, channels, height, width]`.
pub const PIXEL_VALUES: &str = "pixel_values";

const PROJECTION: &str = "embeddings.patch_embeddings.projection";
const POSITIONS: &str = "embeddings.position_embeddings";
const CLASS_TOKEN: &str = "embeddings.cls_token";
const HEAD: &str = "classifier";

/// Most pixels of a side, and of a patch's; most channels. Their products are held in 32 bits.
const MOST_PIXELS: usize = 1 << 14;
const MOST_PATCH: usize = 1 << 12;
const MOST_CHANNELS: usize = 64;

/// Dimensions of a ViT; fields as in `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct VitConfig {
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Encoder layers.
    pub num_hidden_layers: usize,
    /// Attention heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Width of the feed-forward block.
    pub intermediate_size: usize,
    /// Activation of the feed-forward block.
    pub hidden_act: Activation,
    /// Added to the variance in every layer normalization.
    pub layer_norm_eps: f32,
    /// Height and width of an image.
    pub image_size: [usize; 2],
    /// Pixels of a patch's side.
    pub patch_size: usize,
    /// Channels of an image.
    pub num_channels: usize,
    /// Whether the projections of queries, keys and values have biases.
    pub qkv_bias: bool,
    /// What the classes are called, where there is a head that scores them.
    pub labels: Option<Vec<String>>,
}

impl VitConfig {
    pub(crate) fn from_fields(fields: Fields<'_>) -> Result<Self, ModelError> {
        let has_head = fields.architecture() != Some(BASE);
        let config = Self {
            hidden_size: fields.count("hidden_size", 1..=MOST, 768)?,
            num_hidden_layers: fields.count("num_hidden_layers", 1..=MOST_LAYERS, 12)?,
            num_attention_heads: fields.count("num_attention_heads", 1..=MOST, 12)?,
            intermediate_size: fields.count("intermediate_size", 1..=MOST, 3072)?,
            hidden_act: fields.activation("hidden_act", "gelu")?,
            layer_norm_eps: fields.positive("layer_norm_eps", 1e-12)?,
            image_size: fields.sides("image_size", 1..=MOST_PIXELS, 224)?,
            patch_size: patch_size(fields)?,
            num_channels: fields.count("num_channels", 1..=MOST_CHANNELS, 3)?,
            qkv_bias: fields.flag("qkv_bias", true)?,
            labels: has_head.then(|| labels::of(fields)).transpose()?,
        };
        config.check_sizes()?;
        Ok(config)
    }

    fn check_sizes(&self) -> Result<(), ModelError> {
        let heads = self.num_attention_heads;
        if !self.hidden_size.is_multiple_of(heads) {
            let expected = format!("a multiple of `num_attention_heads` ({heads})");
            return Err(wrong("hidden_size", expected, self.hidden_size.to_string()));
        }
        // What is left of an image beside whole patches would be passed over in silence.
        match self.image_size.iter().find(|side| !side.is_multiple_of(self.patch_size)) {
            Some(side) => {
                let expected = format!("a multiple of `patch_size` ({})", self.patch_size);
                Err(wrong("image_size", expected, side.to_string()))
            }
            None => Ok(()),
        }
    }

    /// Patches of an image.
    fn patches(&self) -> usize {
        self.image_size.iter().map(|side| side / self.patch_size).product()
    }

    /// Rows of a sequence: the patches of an image, and the class token.
    pub fn rows(&self) -> usize {
        1 + self.patches()
    }

    /// Values of a patch.
    fn patch_values(&self) -> usize {
        self.num_channels * self.patch_size * self.patch_size
    }

    /// See [`ModelConfig::check_counts`](crate::ModelConfig::check_counts). Heads divide `hidden_size`, so they need no tensor.
    pub(crate) fn check_counts(&self, shape_of: ShapeOf<'_>) -> Result<(), ModelError> {
        let hidden = Count::of("hidden_size", self.hidden_size);
        let patch = Count { field: "patch_size", found: self.patch_size, extent: self.patch_values() };
        let rows = Count { field: "image_size", found: self.image_size[0], extent: self.rows() };
        let inner = Count::of("intermediate_size", self.intermediate_size);
        // Checkpoints have a convolution's weight, and a batch of one of positions; packages have matrices.
        let as_matrix = |name: &str| shape_of(name).map(|shape| matrix_of(&shape));
        check_matrix(&as_matrix, &format!("{PROJECTION}.weight"), [hidden, patch])?;
        check_matrix(&as_matrix, POSITIONS, [rows, hidden])?;
        check_matrix(shape_of, "encoder.layer.0.intermediate.dense.weight", [inner, hidden])?;
        if let Some(labels) = &self.labels {
            let labels = Count { field: labels::FIELD, found: labels.len(), extent: labels.len() };
            check_matrix(shape_of, &format!("{HEAD}.weight"), [labels, hidden])?;
        }
        // A layer is there when some of it is: what is missing of it is named when its weights are looked for.
        let parts = ["attention.output.dense", "intermediate.dense", "output.dense"];
        let is_there = |layer: &usize| {
            parts.iter().any(|part| shape_of(&format!("encoder.layer.{layer}.{part}.weight")).is_some())
        };
        check_layers(self.num_hidden_layers, is_there)
    }

    /// Pixels to scores of the labels. Input: [`PIXEL_VALUES`].
    ///
    /// Outputs: [`LOGITS`], f32 `[batch, labels]`, first where there is a head, then [`LAST_HIDDEN_STATE`], which is normalized,
    /// and `hidden_states.0`, `hidden_states.1`, … as transformers counts them: what the embedding gave, then each layer.
    pub fn graph(&self) -> Graph {
        let mut builder = Builder { config: self, graph: Graph::default() };
        let [height, width] = self.image_size.map(Dim::Fixed);
        let shape = [Dim::Symbol("batch"), Dim::Fixed(self.num_channels), height, width];
        let pixels = builder.graph.input(PIXEL_VALUES, DType::F32, shape);
        let mut x = builder.embedding(pixels);
        let mut hidden_states = vec![x];
        for layer in 0..self.num_hidden_layers {
            x = builder.layer(layer, x);
            hidden_states.push(x);
        }
        let last = builder.norm(LAST_HIDDEN_STATE, x, "layernorm");
        let logits = self.labels.as_ref().map(|labels| builder.head(last, labels.len()));
        let mut graph = builder.graph;
        logits.into_iter().chain([last]).chain(hidden_states).for_each(|id| graph.output(id));
        graph
    }
}

/// Pixels of a patch's side; a patch is square.
fn patch_size(fields: Fields<'_>) -> Result<usize, ModelError> {
    let [height, width] = fields.sides("patch_size", 1..=MOST_PATCH, 16)?;
    if height == width {
        return Ok(height);
    }
    Err(wrong("patch_size", "the same in height and width".into(), format!("[{height}, {width}]")))
}

/// A tensor's shape as that of a matrix: without dimensions of 1 before it, those after the first multiplied.
fn matrix_of(shape: &[usize]) -> Vec<usize> {
    match without_leading_ones(shape, 2) {
        [rows, rest @ ..] => vec![*rows, element_count(rest)],
        [] => Vec::new(),
    }
}

/// Adds a ViT's operators to a graph. Weights are named as the encoder's tensors in a checkpoint.
struct Builder<'a> {
    config: &'a VitConfig,
    graph: Graph,
}

impl Builder<'_> {
    fn embedding(&mut self, pixels: ValueId) -> ValueId {
        let (config, hidden) = (self.config, self.config.hidden_size);
        let squares = self.graph.push("patches", Patches { x: pixels, size: config.patch_size });
        let projection = self.matrix(PROJECTION, [hidden, config.patch_values()], Role::Linear);
        let x = self.linear("embeddings.patches", squares, projection, Activation::Identity, None);
        let token = self.graph.weight(CLASS_TOKEN, [hidden], Role::Vector, &[CLASS_TOKEN]);
        let positions = self.graph.weight(POSITIONS, [config.rows(), hidden], Role::Embedding, &[POSITIONS]);
        self.graph.push(&hidden_state(0), ClassToken { x, token, positions })
    }

    fn layer(&mut self, layer: usize, x: ValueId) -> ValueId {
        let (hidden, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let at = |part: &str| format!("encoder.layer.{layer}.{part}");
        let name = |part: &str| format!("layer.{layer}.{part}");

        let normed = self.norm(&name("attention.norm"), x, &at("layernorm_before"));
        let qkv = self.qkv(layer, normed);
        let parts = [0, 1, 2].map(|index| Columns { value: qkv, start: index * hidden });
        let heads = self.config.num_attention_heads;
        let attended = self.graph.push(&name("attention"), Attention::new(parts, heads, hidden / heads));
        let projection = self.matrix(&at("attention.output.dense"), [hidden, hidden], Role::Attention);
        let x = self.linear(&name("attention.output"), attended, projection, Activation::Identity, Some(x));

        let normed = self.norm(&name("norm"), x, &at("layernorm_after"));
        let up = self.matrix(&at("intermediate.dense"), [inner, hidden], Role::Linear);
        let widened = self.linear(&name("intermediate"), normed, up, self.config.hidden_act, None);
        let down = self.matrix(&at("output.dense"), [hidden, inner], Role::Linear);
        self.linear(&hidden_state(layer + 1), widened, down, Activation::Identity, Some(x))
    }

    /// Q, K and V of all heads in one product, stacked in that order.
    fn qkv(&mut self, layer: usize, x: ValueId) -> ValueId {
        let hidden = self.config.hidden_size;
        let prefix = format!("encoder.layer.{layer}.attention.attention");
        let mut stacked = |part: &str, shape: &[usize], role| {
            let sources = ["query", "key", "value"].map(|which| format!("{prefix}.{which}.{part}"));
            self.graph.weight(&format!("{prefix}.qkv.{part}"), shape, role, &sources.each_ref().map(String::as_str))
        };
        let weight = stacked("weight", &[3 * hidden, hidden], Role::Attention);
        let bias = self.config.qkv_bias.then(|| stacked("bias", &[3 * hidden], Role::Vector));
        self.linear(&format!("layer.{layer}.qkv"), x, (weight, bias), Activation::Identity, None)
    }

    /// Scores of the labels by the class token.
    fn head(&mut self, x: ValueId, labels: usize) -> ValueId {
        let first = Pool { x, mask: None, pooling: Pooling::Cls, normalize: false };
        let first = self.graph.push("first_row", first);
        let weight = self.matrix(HEAD, [labels, self.config.hidden_size], Role::Linear);
        self.linear(LOGITS, first, weight, Activation::Identity, None)
    }

    fn linear(
        &mut self,
        name: &str,
        x: ValueId,
        (weight, bias): (WeightId, Option<WeightId>),
        activation: Activation,
        residual: Option<ValueId>,
    ) -> ValueId {
        self.graph.push(name, Linear { x, weight, bias, activation, residual })
    }

    fn norm(&mut self, name: &str, x: ValueId, source: &str) -> ValueId {
        let mut vector = |part: &str| {
            let name = format!("{source}.{part}");
            self.graph.weight(&name, [self.config.hidden_size], Role::Vector, &[&name])
        };
        let by = Normalization::layer(vector("weight"), vector("bias"), self.config.layer_norm_eps);
        self.graph.push(name, Norm { x, by })
    }

    fn matrix(&mut self, source: &str, shape: [usize; 2], role: Role) -> (WeightId, Option<WeightId>) {
        let (weight, bias) = (format!("{source}.weight"), format!("{source}.bias"));
        let weight = self.graph.weight(&weight, shape, role, &[&weight]);
        (weight, Some(self.graph.weight(&bias, [shape[0]], Role::Vector, &[&bias])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelConfig;
    use serde_json::{Value, json};

    fn small() -> Value {
        json!({"model_type": "vit", "architectures": ["ViTForImageClassification"], "hidden_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96, "image_size": 32, "patch_size": 8,
            "id2label": {"0": "cat", "1": "dog", "2": "neither"}})
    }

    fn with(field: &str, value: Value) -> Value {
        let mut config = small();
        config[field] = value;
        config
    }

    fn graph(config: &Value) -> Graph {
        ModelConfig::from_json(config).unwrap().graph(None)
    }

    #[test]
    fn a_layer_is_seven_operators_and_the_answer_is_scores_of_labels() {
        let graph = graph(&small());
        graph.validate().unwrap();
        let names: Vec<&str> = graph.nodes.iter().map(|node| node.op.name()).collect();
        assert_eq!(names[..3], ["patches", "linear", "class_token"]);
        assert_eq!(names[3..10], ["norm", "linear", "attention", "linear", "norm", "linear", "linear"]);
        assert_eq!(names[17..], ["norm", "pool", "linear"]);
        let outputs: Vec<&str> = graph.output_names().collect();
        assert_eq!(outputs, ["logits", "last_hidden_state", "hidden_states.0", "hidden_states.1", "hidden_states.2"]);
        let bindings = graph.bind(&[(PIXEL_VALUES, DType::F32, &[5, 3, 32, 32][..])]).unwrap();
        let shapes = graph.outputs.iter().map(|id| graph.shape(*id, &bindings).unwrap());
        assert_eq!(shapes.take(2).collect::<Vec<_>>(), [vec![5, 3], vec![5, 17, 64]]);
    }

    #[test]
    fn parameters_are_those_of_the_checkpoint() {
        let labels: serde_json::Map<String, Value> = (0..1000).map(|id| (id.to_string(), json!("label"))).collect();
        // What transformers counts of google/vit-base-patch16-224, which has no pooler.
        assert_eq!(graph(&json!({"model_type": "vit", "id2label": labels})).parameters(), 86_567_656);
    }

    #[test]
    fn biases_and_the_head_are_there_where_the_config_says_so() {
        let has = |config: &Value, name: &str| graph(config).find_weight(name).is_some();
        let bias = "encoder.layer.0.attention.attention.qkv.bias";
        assert!(has(&small(), bias) && !has(&with("qkv_bias", json!(false)), bias));
        let base = with("architectures", json!(["ViTModel"]));
        assert!(has(&small(), "classifier.weight") && !has(&base, "classifier.weight"));
        assert_eq!(graph(&base).output_names().next(), Some("last_hidden_state"));
    }

    #[test]
    fn unsupported_variants_are_refused_by_their_field() {
        let error = |field: &str, value: Value| ModelConfig::from_json(&with(field, value)).unwrap_err().to_string();
        assert_eq!(
            error("num_attention_heads", json!(7)),
            "config.json: `hidden_size` should be a multiple of `num_attention_heads` (7), found 64"
        );
        assert_eq!(
            error("image_size", json!([32, 36])),
            "config.json: `image_size` should be a multiple of `patch_size` (8), found 36"
        );
        assert_eq!(
            error("patch_size", json!([8, 4])),
            "config.json: `patch_size` should be the same in height and width, found [8, 4]"
        );
        assert!(error("image_size", json!("big")).contains("`image_size` should be a whole number from 1 to 16384"));
        assert!(error("hidden_act", json!("quick_gelu")).ends_with("found `quick_gelu`"));
        assert!(error("num_channels", json!(0)).contains("`num_channels`"));
        assert!(error("problem_type", json!("multi_label_classification")).contains("`problem_type`"));
        let config = with("image_size", json!([16, 32]));
        let bindings = graph(&config).bind(&[(PIXEL_VALUES, DType::F32, &[1, 3, 16, 32][..])]).unwrap();
        let graph = graph(&config);
        assert_eq!(graph.shape(graph.outputs[1], &bindings).unwrap(), [1, 9, 64]);
    }

    #[test]
    fn counts_are_those_of_the_checkpoint() {
        let whole = graph(&small());
        let shape_of = |name: &str| match name {
            "embeddings.patch_embeddings.projection.weight" => Some(vec![64, 3, 8, 8]),
            POSITIONS => Some(vec![1, 17, 64]),
            _ => whole.weights.iter().find(|weight| weight.name == name).map(|weight| weight.shape.clone()),
        };
        let check = |config: &Value| {
            let checked = ModelConfig::from_json(config).and_then(|config| config.check_counts(&shape_of));
            checked.err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(check(&small()), "");
        for (field, value, end) in [
            ("hidden_size", json!(128), "projection.weight` has shape [64, 192]"),
            ("patch_size", json!(4), "projection.weight` has shape [64, 192]"),
            ("num_channels", json!(1), "projection.weight` has shape [64, 192]"),
            ("image_size", json!(64), "position_embeddings` has shape [17, 64]"),
            ("intermediate_size", json!(97), "intermediate.dense.weight` has shape [96, 64]"),
            ("num_hidden_layers", json!(3), "there are tensors for 2"),
            ("id2label", json!({"0": "cat", "1": "dog"}), "classifier.weight` has shape [3, 64]"),
        ] {
            let error = check(&with(field, value));
            assert!(error.ends_with(end), "{field}: {error}");
        }
    }
}
