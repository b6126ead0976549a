//! BERT (Devlin et al., 2019): an encoder with learned positions, post-layer normalization and GELU.
//!
//! An encoder layer is seven operators, so seven dispatches: Q, K and V in one product, attention, output projection
//! with its residual, normalization, and the two products of the feed-forward block with their normalization.

use webnibble_common::graph::{
    Activation, Attention, Columns, Embedding, Graph, Linear, Norm, Normalization, Pool, Pooling, Role, ValueId,
    WeightId,
};
use webnibble_common::package::SentenceConfig;
use webnibble_common::tensor::DType;

use crate::counts::{Count, ShapeOf, check_layers, check_matrix};
use crate::error::ModelError;
use crate::fields::{Fields, MOST, MOST_LAYERS, wrong};
use crate::hidden::{hidden_state, sentence_embedding};

pub use crate::hidden::{LAST_HIDDEN_STATE, POOLING_MASK, SENTENCE_EMBEDDING};

/// What BERT checkpoints with a head put before the encoder's tensor names.
pub(crate) const PREFIX: &str = "bert.";

/// Architectures whose answer is the encoder's hidden states, or whose heads are for training alone.
pub(crate) const HIDDEN_STATE_ARCHITECTURES: &[&str] =
    &["BertModel", "BertForMaskedLM", "BertForPreTraining", "BertLMHeadModel"];

/// Name of the output that holds transformers' `pooler_output`, f32 `[batch, hidden]`: a dense layer and tanh over the first
/// token's hidden state. There where the checkpoint has the pooler.
pub const POOLER_OUTPUT: &str = "pooler_output";

/// The pooler's dense layer in a checkpoint.
const POOLER: &str = "pooler.dense";

/// Dimensions of a BERT encoder; fields as in `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct BertConfig {
    /// Rows of the token table.
    pub vocab_size: usize,
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
    /// Rows of the position table: the longest input in tokens.
    pub max_position_embeddings: usize,
    /// Rows of the segment table; 0 where the model has none.
    pub type_vocab_size: usize,
    /// Added to the variance in every layer normalization.
    pub layer_norm_eps: f32,
}

impl Default for BertConfig {
    /// The defaults of transformers' `BertConfig`, which are those of `bert-base-uncased`.
    fn default() -> Self {
        Self {
            vocab_size: 30522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
        }
    }
}

impl BertConfig {
    pub(crate) fn from_fields(fields: Fields<'_>) -> Result<Self, ModelError> {
        let default = Self::default();
        let config = Self {
            vocab_size: fields.count("vocab_size", 1..=MOST, default.vocab_size)?,
            hidden_size: fields.count("hidden_size", 1..=MOST, default.hidden_size)?,
            num_hidden_layers: fields.count("num_hidden_layers", 1..=MOST_LAYERS, default.num_hidden_layers)?,
            num_attention_heads: fields.count("num_attention_heads", 1..=MOST, default.num_attention_heads)?,
            intermediate_size: fields.count("intermediate_size", 1..=MOST, default.intermediate_size)?,
            hidden_act: fields.activation("hidden_act", "gelu")?,
            max_position_embeddings: fields.count(
                "max_position_embeddings",
                1..=MOST,
                default.max_position_embeddings,
            )?,
            type_vocab_size: fields.count("type_vocab_size", 0..=MOST, default.type_vocab_size)?,
            layer_norm_eps: fields.positive("layer_norm_eps", default.layer_norm_eps)?,
        };
        config.refuse_what_is_not_there(fields)?;
        Ok(config)
    }

    /// Variants of BERT that this graph would compute wrongly are errors, not surprises.
    fn refuse_what_is_not_there(&self, fields: Fields<'_>) -> Result<(), ModelError> {
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(wrong(
                "hidden_size",
                format!("a multiple of `num_attention_heads` ({})", self.num_attention_heads),
                self.hidden_size.to_string(),
            ));
        }
        let positions = fields.text("position_embedding_type", "absolute")?;
        if positions != "absolute" {
            return Err(wrong("position_embedding_type", "`absolute`".to_owned(), format!("`{positions}`")));
        }
        for field in ["is_decoder", "add_cross_attention"] {
            if fields.flag(field, false)? {
                return Err(wrong(field, "false: this family is an encoder".to_owned(), "true".to_owned()));
            }
        }
        Ok(())
    }

    /// See [`ModelConfig::check_counts`](crate::ModelConfig::check_counts). Heads divide `hidden_size`, so they need no tensor.
    pub(crate) fn check_counts(&self, shape_of: ShapeOf<'_>) -> Result<(), ModelError> {
        let tables = [
            ("embeddings.word_embeddings.weight", "vocab_size", self.vocab_size),
            ("embeddings.position_embeddings.weight", "max_position_embeddings", self.max_position_embeddings),
            ("embeddings.token_type_embeddings.weight", "type_vocab_size", self.type_vocab_size),
            ("encoder.layer.0.intermediate.dense.weight", "intermediate_size", self.intermediate_size),
        ];
        for (tensor, field, rows) in tables.into_iter().filter(|(_, _, rows)| *rows > 0) {
            check_matrix(shape_of, tensor, [Count::of(field, rows), Count::of("hidden_size", self.hidden_size)])?;
        }
        // A layer is there when some of it is: what is missing of it is named when its weights are looked for.
        let parts = ["attention.output.dense", "intermediate.dense", "output.dense"];
        let is_there = |layer: &usize| {
            parts.iter().any(|part| shape_of(&format!("encoder.layer.{layer}.{part}.weight")).is_some())
        };
        check_layers(self.num_hidden_layers, is_there)
    }

    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Inputs `input_ids`, `attention_mask` and, with segments, `token_type_ids`, all u32 `[batch, seq]`. Where prompts are not
    /// pooled there is the input [`POOLING_MASK`] besides.
    ///
    /// Outputs: with `sentence` [`SENTENCE_EMBEDDING`] first, then [`LAST_HIDDEN_STATE`], [`POOLER_OUTPUT`] where the checkpoint
    /// `has` its weights, and `hidden_states.0`, `hidden_states.1`, … as transformers counts them: what the embeddings gave,
    /// then each layer but the last, whose are the last hidden state.
    pub fn graph(&self, sentence: Option<&SentenceConfig>, has: &dyn Fn(&str) -> bool) -> Graph {
        let mut builder = Builder { config: self, graph: Graph::default() };
        let tokens = || ["batch".into(), "seq".into()];
        let ids = builder.graph.input("input_ids", DType::U32, tokens());
        let mask = builder.graph.input("attention_mask", DType::U32, tokens());
        let types = (self.type_vocab_size > 0).then(|| builder.graph.input("token_type_ids", DType::U32, tokens()));

        // The last operator's value carries the output's name, so without pooling that is the last normalization.
        let last = self.num_hidden_layers - 1;
        let mut x = builder.embedding(ids, types);
        let mut hidden_states = Vec::new();
        for layer in 0..self.num_hidden_layers {
            hidden_states.push(x);
            let output = if layer == last { LAST_HIDDEN_STATE.to_owned() } else { hidden_state(layer + 1) };
            x = builder.layer(layer, x, mask, &output);
        }
        let has_pooler = ["weight", "bias"].iter().all(|part| has(&format!("{POOLER}.{part}")));
        let pooled = has_pooler.then(|| builder.pooler(x));

        let last_hidden_state = x;
        let mut graph = builder.graph;
        if let Some(sentence) = sentence {
            let embedding = sentence_embedding(&mut graph, last_hidden_state, mask, sentence);
            graph.output(embedding);
        }
        [Some(last_hidden_state), pooled].into_iter().flatten().chain(hidden_states).for_each(|id| graph.output(id));
        graph
    }
}

/// Adds a BERT's operators to a graph. Weights are named as the encoder's tensors in a checkpoint.
struct Builder<'a> {
    config: &'a BertConfig,
    graph: Graph,
}

impl Builder<'_> {
    fn embedding(&mut self, ids: ValueId, token_types: Option<ValueId>) -> ValueId {
        let config = self.config;
        let table = self.table("word", config.vocab_size);
        let positions = Some(self.table("position", config.max_position_embeddings));
        let types = token_types.map(|_| self.table("token_type", config.type_vocab_size));
        let norm = Some(self.norm("embeddings.LayerNorm"));
        self.graph
            .push(&hidden_state(0), Embedding { ids, token_types, table, positions, position_offset: 0, types, norm })
    }

    /// One encoder layer on `x`; its last value is called `output`.
    fn layer(&mut self, layer: usize, x: ValueId, mask: ValueId, output: &str) -> ValueId {
        let (hidden, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let at = |part: &str| format!("encoder.layer.{layer}.{part}");
        let name = |part: &str| format!("layer.{layer}.{part}");

        let qkv = self.qkv(layer, x);
        let attended = self.attention(&name("attention"), qkv, mask);
        let projection = self.matrix(&at("attention.output.dense"), [hidden, hidden], Role::Attention);
        let projected = self.linear(&name("attention.output"), attended, projection, Activation::Identity, Some(x));
        let x = self.layer_norm(&name("attention.norm"), projected, &at("attention.output.LayerNorm"));

        let up = self.matrix(&at("intermediate.dense"), [inner, hidden], Role::Linear);
        let widened = self.linear(&name("intermediate"), x, up, self.config.hidden_act, None);
        let down = self.matrix(&at("output.dense"), [hidden, inner], Role::Linear);
        let narrowed = self.linear(&name("feed_forward"), widened, down, Activation::Identity, Some(x));
        self.layer_norm(output, narrowed, &at("output.LayerNorm"))
    }

    /// `tanh(first token · weightᵀ + bias)`: `[batch, seq, hidden]` to `[batch, hidden]`.
    fn pooler(&mut self, x: ValueId) -> ValueId {
        let hidden = self.config.hidden_size;
        let first = Pool { x, mask: None, pooling: Pooling::Cls, normalize: false };
        let first = self.graph.push("pooler.first", first);
        let weight = self.matrix(POOLER, [hidden, hidden], Role::Linear);
        self.linear(POOLER_OUTPUT, first, weight, Activation::Tanh, None)
    }

    /// Q, K and V of all heads in one product, stacked in that order.
    fn qkv(&mut self, layer: usize, x: ValueId) -> ValueId {
        let hidden = self.config.hidden_size;
        let prefix = format!("encoder.layer.{layer}.attention.self");
        let sources = |part: &str| ["query", "key", "value"].map(|which| format!("{prefix}.{which}.{part}"));
        let mut stacked = |part: &str, shape: Vec<usize>, role| {
            let sources = sources(part);
            self.graph.weight(&format!("{prefix}.qkv.{part}"), shape, role, &sources.each_ref().map(String::as_str))
        };
        let weight = stacked("weight", vec![3 * hidden, hidden], Role::Attention);
        let bias = stacked("bias", vec![3 * hidden], Role::Vector);
        self.linear(&format!("layer.{layer}.qkv"), x, (weight, bias), Activation::Identity, None)
    }

    fn attention(&mut self, name: &str, qkv: ValueId, mask: ValueId) -> ValueId {
        let config = self.config;
        let part = |index: usize| Columns { value: qkv, start: index * config.hidden_size };
        let attention = Attention::new([0, 1, 2].map(part), config.num_attention_heads, config.head_dim());
        self.graph.push(name, Attention { mask: Some(mask), ..attention })
    }

    fn linear(
        &mut self,
        name: &str,
        x: ValueId,
        (weight, bias): (WeightId, WeightId),
        activation: Activation,
        residual: Option<ValueId>,
    ) -> ValueId {
        self.graph.push(name, Linear { x, weight, bias: Some(bias), activation, residual })
    }

    fn layer_norm(&mut self, name: &str, x: ValueId, source: &str) -> ValueId {
        let by = self.norm(source);
        self.graph.push(name, Norm { x, by })
    }

    fn table(&mut self, which: &str, rows: usize) -> WeightId {
        let name = format!("embeddings.{which}_embeddings.weight");
        self.graph.weight(&name, [rows, self.config.hidden_size], Role::Embedding, &[&name])
    }

    fn matrix(&mut self, source: &str, shape: [usize; 2], role: Role) -> (WeightId, WeightId) {
        let (weight, bias) = (format!("{source}.weight"), format!("{source}.bias"));
        (
            self.graph.weight(&weight, shape, role, &[&weight]),
            self.graph.weight(&bias, [shape[0]], Role::Vector, &[&bias]),
        )
    }

    fn norm(&mut self, source: &str) -> Normalization {
        let mut vector = |part: &str| {
            let name = format!("{source}.{part}");
            self.graph.weight(&name, [self.config.hidden_size], Role::Vector, &[&name])
        };
        Normalization::layer(vector("weight"), vector("bias"), self.config.layer_norm_eps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelConfig;
    use serde_json::json;
    use webnibble_common::graph::Op;
    use webnibble_common::prompt::Prompts;

    fn mini_lm() -> ModelConfig {
        ModelConfig::from_json(&json!({
            "model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536,
        }))
        .unwrap()
    }

    const MEAN: SentenceConfig = SentenceConfig::new(Pooling::Mean, true, Some(256));

    #[test]
    fn a_layer_is_seven_operators() {
        let graph = mini_lm().graph(None);
        graph.validate().unwrap();
        assert_eq!(graph.nodes.len(), 1 + 6 * 7);
        let names: Vec<&str> = graph.nodes[1..8].iter().map(|node| node.op.name()).collect();
        assert_eq!(names, ["linear", "attention", "linear", "norm", "linear", "linear", "norm"]);
        assert_eq!(graph.value_of(graph.outputs[0]).name, "last_hidden_state");
    }

    #[test]
    fn a_sentence_model_ends_with_pooling() {
        let graph = mini_lm().graph(Some(&MEAN));
        graph.validate().unwrap();
        assert_eq!(graph.nodes.len(), 1 + 6 * 7 + 1);
        let bindings = graph
            .bind(&["input_ids", "attention_mask", "token_type_ids"].map(|n| (n, DType::U32, &[2, 9][..])))
            .unwrap();
        assert_eq!(graph.value_of(graph.outputs[0]).name, "sentence_embedding");
        assert_eq!(graph.shape(graph.outputs[0], &bindings).unwrap(), [2, 384]);
    }

    #[test]
    fn prompts_that_are_not_pooled_have_a_mask_of_their_own() {
        let prompts = Prompts { by_name: [("query".into(), "query: ".into())].into(), default_name: None };
        let sentence = SentenceConfig { prompts, include_prompt: false, ..MEAN };
        let graph = mini_lm().graph(Some(&sentence));
        graph.validate().unwrap();
        let names: Vec<&str> = graph.inputs.iter().map(|id| graph.value_of(*id).name.as_str()).collect();
        assert_eq!(names, ["input_ids", "attention_mask", "token_type_ids", POOLING_MASK]);
        let Some(Op::Pool(Pool { mask, .. })) = graph.nodes.last().map(|node| &node.op) else { panic!("it pools") };
        assert_eq!(*mask, graph.inputs.last().copied());
        let pooled = SentenceConfig { include_prompt: true, ..sentence };
        assert_eq!(mini_lm().graph(Some(&pooled)).inputs.len(), 3);
    }

    #[test]
    fn parameters_are_those_of_the_encoder() {
        // Those that transformers counts, with the pooler (384 · 384 + 384) where it is there.
        assert_eq!(mini_lm().graph(None).parameters(), 22_713_216 - 384 * 385);
        let base = ModelConfig::Bert(BertConfig::default());
        assert_eq!(base.graph_over(None, &|_| true).parameters(), 109_482_240);
    }

    #[test]
    fn outputs_have_the_names_that_transformers_gives_them() {
        let hidden: Vec<String> = (0..6).map(hidden_state).collect();
        let names = |graph: &Graph| graph.output_names().map(str::to_owned).collect::<Vec<_>>();
        let with = |first: &[&str]| [first.iter().map(ToString::to_string).collect(), hidden.clone()].concat();
        assert_eq!(names(&mini_lm().graph(None)), with(&["last_hidden_state"]));
        let graph = mini_lm().graph_over(Some(&MEAN), &|name| name.starts_with("pooler.dense."));
        graph.validate().unwrap();
        assert_eq!(names(&graph), with(&["sentence_embedding", "last_hidden_state", "pooler_output"]));
        // Half a pooler is none.
        assert_eq!(names(&mini_lm().graph_over(None, &|name| name == "pooler.dense.weight")).len(), 7);
    }

    #[test]
    fn what_is_not_asked_for_is_not_computed() {
        let graph = mini_lm().graph_over(Some(&MEAN), &|_| true);
        let nodes = |outputs: &[&str]| graph.only(outputs).nodes.len();
        let encoder = 1 + 6 * 7;
        assert_eq!((graph.answer().nodes.len(), nodes(&["last_hidden_state"])), (encoder + 1, encoder));
        assert_eq!((nodes(&["pooler_output"]), nodes(&["hidden_states.0"])), (encoder + 2, 1));
        assert_eq!(graph.only(&["hidden_states.2"]).nodes.len(), 1 + 2 * 7);
    }

    #[test]
    fn roles_and_sources_follow_the_checkpoint() {
        let graph = mini_lm().graph(None);
        let weight = |name: &str| graph.weights.iter().find(|w| w.name == name).unwrap();
        let qkv = weight("encoder.layer.3.attention.self.qkv.weight");
        assert_eq!((qkv.role, &qkv.shape[..]), (Role::Attention, &[1152, 384][..]));
        assert_eq!(
            qkv.sources,
            ["query", "key", "value"].map(|part| format!("encoder.layer.3.attention.self.{part}.weight"))
        );
        assert_eq!(weight("encoder.layer.3.attention.output.dense.weight").role, Role::Attention);
        assert_eq!(weight("encoder.layer.3.output.dense.weight").role, Role::Linear);
        assert_eq!(weight("embeddings.token_type_embeddings.weight").role, Role::Embedding);
    }

    #[test]
    fn no_segments_means_no_such_input() {
        let config = ModelConfig::from_json(&json!({"model_type": "bert", "type_vocab_size": 0})).unwrap();
        let graph = config.graph(None);
        graph.validate().unwrap();
        assert_eq!(graph.inputs.len(), 2);
    }

    #[test]
    fn unsupported_variants_are_refused() {
        let error = |field: &str, value: serde_json::Value| {
            let mut config = json!({"model_type": "bert"});
            config[field] = value;
            ModelConfig::from_json(&config).unwrap_err().to_string()
        };
        assert_eq!(
            error("position_embedding_type", json!("relative_key")),
            "config.json: `position_embedding_type` should be `absolute`, found `relative_key`"
        );
        assert!(error("hidden_act", json!("mish")).ends_with("found `mish`"));
        assert_eq!(
            error("num_attention_heads", json!(7)),
            "config.json: `hidden_size` should be a multiple of `num_attention_heads` (7), found 768"
        );
        assert!(error("is_decoder", json!(true)).contains("is_decoder"));
    }

    #[test]
    fn counts_are_those_of_the_checkpoint() {
        let fields = json!({"model_type": "bert", "vocab_size": 70, "hidden_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "intermediate_size": 96, "max_position_embeddings": 16, "type_vocab_size": 2});
        let graph = ModelConfig::from_json(&fields).unwrap().graph(None);
        let shape_of = |name: &str| {
            let weight = graph.weights.iter().find(|weight| weight.name == name);
            weight.map(|weight| weight.shape.clone())
        };
        let check = |field: &str, value: u64| {
            let mut fields = fields.clone();
            fields[field] = json!(value);
            let checked = ModelConfig::from_json(&fields).and_then(|config| config.check_counts(&shape_of));
            checked.err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(check("num_hidden_layers", 2), "");
        // A shallower model takes the first layers, as elsewhere.
        assert_eq!(check("num_hidden_layers", 1), "");
        assert_eq!(check("num_hidden_layers", 3), "config.json: `num_hidden_layers` is 3, but there are tensors for 2");
        for (field, value, tensor) in [
            ("vocab_size", 2_000_000_000, "word_embeddings.weight` has shape [70, 64]"),
            ("hidden_size", 2_000_000_000, "word_embeddings.weight` has shape [70, 64]"),
            ("max_position_embeddings", 2_000_000_000, "position_embeddings.weight` has shape [16, 64]"),
            ("type_vocab_size", 2_000_000_000, "token_type_embeddings.weight` has shape [2, 64]"),
            ("intermediate_size", 2_000_000_000, "intermediate.dense.weight` has shape [96, 64]"),
        ] {
            let error = check(field, value);
            assert!(error.starts_with(&format!("config.json: `{field}` is {value}, but ")), "{error}");
            assert!(error.ends_with(tensor), "{error}");
        }
        for field in ["vocab_size", "hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size"] {
            assert!(check(field, 4_000_000_000).contains(&format!("`{field}` should be a whole number from 1 to ")));
        }
        let none = ModelConfig::from_json(&fields).unwrap().check_counts(&|_| None).unwrap_err();
        assert!(none.to_string().starts_with("tensor `embeddings.word_embeddings.weight` is missing"), "{none}");
    }

    #[test]
    fn activations_have_several_names() {
        let act = |name: &str| {
            let config = json!({"model_type": "bert", "hidden_act": name});
            let ModelConfig::Bert(config) = ModelConfig::from_json(&config).unwrap() else { panic!("it is BERT") };
            config.hidden_act
        };
        assert_eq!(act("gelu_new"), Activation::GeluTanh);
        assert_eq!(act("gelu_pytorch_tanh"), Activation::GeluTanh);
        assert_eq!(act("swish"), Activation::Silu);
        assert_eq!(act("relu"), Activation::Relu);
    }
}
