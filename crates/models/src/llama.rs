//! LLaMA (Touvron et al., 2023): a decoder with rotary positions, heads that share keys and values, normalization by the root
//! mean square before each block, and a gated feed-forward block.
//!
//! A layer is nine operators: normalization, Q, K and V in one product, rotary positions of Q and K, attention, output
//! projection with its residual, normalization, gate and up projection in one product, the gate, and the down projection
//! with its residual.

use webnibble_common::graph::{
    Activation, Attention, Cache, Columns, Dim, Embedding, Gate, Graph, Linear, Norm, Normalization, Pool, Pooling,
    Role, Rotary, RotaryStyle, State, StateId, ValueId, WeightId,
};
use webnibble_common::package::SentenceConfig;
use webnibble_common::program::{DECODE, ENCODE, Program};
use webnibble_common::tensor::DType;

use crate::counts::{Count, ShapeOf, check_layers, check_matrix};
use crate::error::ModelError;
use crate::fields::{Fields, MOST, MOST_LAYERS, wrong};
use crate::hidden::{LAST_HIDDEN_STATE, hidden_state, sentence_embedding};
use crate::rope::Rope;

/// Architectures whose answer is what a graph here makes: the next token's scores, or hidden states.
pub(crate) const ARCHITECTURES: &[&str] = &["LlamaForCausalLM", BASE];

/// The architecture without the head.
const BASE: &str = "LlamaModel";

/// Name of the output that scores what may come next at each position, f32 `[batch, seq, vocab]`.
pub const LOGITS: &str = "logits";

/// Name of the first output of [`DECODE`]: it scores what may come behind the last position, f32 `[batch, vocab]`.
pub const NEXT_LOGITS: &str = "next_logits";

const TABLE: &str = "embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

/// Dimensions of a LLaMA; fields as in `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct LlamaConfig {
    /// Rows of the token table, and scores of a position.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads of queries.
    pub num_attention_heads: usize,
    /// Heads of keys and values; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width of the feed-forward block.
    pub intermediate_size: usize,
    /// Activation of the gate.
    pub hidden_act: Activation,
    /// The longest input in tokens.
    pub max_position_embeddings: usize,
    /// Added to the mean square in every normalization.
    pub rms_norm_eps: f32,
    /// Rotary positions.
    pub rope: Rope,
    /// Whether the head's matrix is the token table.
    pub tie_word_embeddings: bool,
    /// Whether the projections of attention have biases.
    pub attention_bias: bool,
    /// Whether the projections of the feed-forward block have biases.
    pub mlp_bias: bool,
    /// Whether there is a head that scores the next token.
    pub has_head: bool,
}

impl LlamaConfig {
    pub(crate) fn from_fields(fields: Fields<'_>) -> Result<Self, ModelError> {
        let hidden_size = fields.count("hidden_size", 1..=MOST, 4096)?;
        let num_attention_heads = fields.count("num_attention_heads", 1..=MOST, 32)?;
        let config = Self {
            vocab_size: fields.count("vocab_size", 1..=MOST, 32_000)?,
            hidden_size,
            num_hidden_layers: fields.count("num_hidden_layers", 1..=MOST_LAYERS, 32)?,
            num_attention_heads,
            num_key_value_heads: fields.count("num_key_value_heads", 1..=MOST, num_attention_heads)?,
            head_dim: head_dim(fields, hidden_size, num_attention_heads)?,
            intermediate_size: fields.count("intermediate_size", 1..=MOST, 11_008)?,
            hidden_act: fields.activation("hidden_act", "silu")?,
            max_position_embeddings: fields.count("max_position_embeddings", 1..=MOST, 2048)?,
            rms_norm_eps: fields.positive("rms_norm_eps", 1e-6)?,
            rope: Rope::from_fields(fields)?,
            tie_word_embeddings: fields.flag("tie_word_embeddings", false)?,
            attention_bias: fields.flag("attention_bias", false)?,
            mlp_bias: fields.flag("mlp_bias", false)?,
            has_head: fields.architecture() != Some(BASE),
        };
        config.check_heads()?;
        Ok(config)
    }

    fn check_heads(&self) -> Result<(), ModelError> {
        let (heads, shared) = (self.num_attention_heads, self.num_key_value_heads);
        if !heads.is_multiple_of(shared) {
            let expected = format!("a divisor of `num_attention_heads` ({heads})");
            return Err(wrong("num_key_value_heads", expected, shared.to_string()));
        }
        let most = 2 * Rotary::MOST_PAIRS;
        if self.head_dim > most || !self.head_dim.is_multiple_of(2) {
            return Err(wrong("head_dim", format!("even, and at most {most}"), self.head_dim.to_string()));
        }
        // A `usize` has 32 bits in the page.
        if (heads as u64 + 2 * shared as u64) * self.head_dim as u64 > MOST as u64 {
            let expected = format!("at most {} for heads of {} columns", MOST / 3 / self.head_dim, self.head_dim);
            return Err(wrong("num_attention_heads", expected, heads.to_string()));
        }
        Ok(())
    }

    /// Columns of all queries.
    fn queries(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Columns of all keys, and of all values.
    fn shared(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

    /// See [`ModelConfig::check_counts`](crate::ModelConfig::check_counts).
    pub(crate) fn check_counts(&self, shape_of: ShapeOf<'_>) -> Result<(), ModelError> {
        let vocab = Count::of("vocab_size", self.vocab_size);
        let hidden = Count::of("hidden_size", self.hidden_size);
        let inner = Count::of("intermediate_size", self.intermediate_size);
        let heads = Count { field: "num_attention_heads", found: self.num_attention_heads, extent: self.queries() };
        check_matrix(shape_of, TABLE, [vocab, hidden])?;
        check_matrix(shape_of, "layers.0.mlp.down_proj.weight", [hidden, inner])?;
        check_matrix(shape_of, "layers.0.self_attn.o_proj.weight", [hidden, heads])?;
        // A package has keys stacked with queries and values.
        let (keys, stacked) = ("layers.0.self_attn.k_proj.weight", "layers.0.self_attn.qkv_proj.weight");
        let shared = Count { field: "num_key_value_heads", found: self.num_key_value_heads, extent: self.shared() };
        match shape_of(stacked) {
            Some(_) => {
                let all = Count { extent: self.queries() + 2 * self.shared(), ..shared };
                check_matrix(shape_of, stacked, [all, hidden])?;
            }
            None => check_matrix(shape_of, keys, [shared, hidden])?,
        }
        if self.has_head && !self.tie_word_embeddings {
            check_matrix(shape_of, HEAD, [vocab, hidden])?;
        }
        // A layer is there when some of it is: what is missing of it is named when its weights are looked for.
        let parts = ["self_attn.o_proj", "mlp.down_proj", "input_layernorm"];
        let is_there =
            |layer: &usize| parts.iter().any(|part| shape_of(&format!("layers.{layer}.{part}.weight")).is_some());
        check_layers(self.num_hidden_layers, is_there)
    }

    /// Token ids of whole texts to what comes next at each position. Input: `input_ids`, u32 `[batch, seq]`.
    ///
    /// Outputs: [`LOGITS`] first where there is a head, then
    /// [`LAST_HIDDEN_STATE`], and `hidden_states.0`, `hidden_states.1`, … as transformers counts
    /// them: what the embedding gave, then each layer but the last, whose are the last hidden state once normalized. With
    /// `sentence` one vector a text comes before them, and `attention_mask` says which tokens count.
    pub fn graph(&self, sentence: Option<&SentenceConfig>) -> Graph {
        let mut builder = Builder { config: self, graph: Graph::default(), mask: None, cached: false };
        let ids = builder.graph.input("input_ids", DType::U32, tokens());
        builder.mask = sentence.map(|_| builder.graph.input("attention_mask", DType::U32, tokens()));
        builder.build(ids, sentence)
    }

    /// The program: the graph [`ENCODE`] of whole texts, and [`DECODE`], which continues a conversation: its `input_ids` stand
    /// behind those of the runs before, whose keys and values are states. Where there is a head, its first output is
    /// [`NEXT_LOGITS`].
    pub fn program(&self, sentence: Option<&SentenceConfig>) -> Program {
        let mut program = Program::of(ENCODE, self.graph(sentence));
        let decode = |graph: &mut Graph| {
            let mut builder = Builder { config: self, graph: std::mem::take(graph), mask: None, cached: true };
            let ids = builder.graph.input("input_ids", DType::U32, tokens());
            *graph = builder.build(ids, None);
        };
        program.graph(DECODE, decode).expect("the builder adds to what is there");
        program
    }
}

fn tokens() -> [Dim; 2] {
    ["batch".into(), "seq".into()]
}

/// `head_dim`, or what the heads divide the hidden states into.
fn head_dim(fields: Fields<'_>, hidden_size: usize, heads: usize) -> Result<usize, ModelError> {
    if let Some(head_dim) = fields.count_if_there("head_dim", 1..=MOST)? {
        return Ok(head_dim);
    }
    if !hidden_size.is_multiple_of(heads) {
        let expected = format!("a multiple of `num_attention_heads` ({heads}) where there is no `head_dim`");
        return Err(wrong("hidden_size", expected, hidden_size.to_string()));
    }
    Ok(hidden_size / heads)
}

/// Adds a LLaMA's operators to a graph. Weights are named as in a checkpoint, and are those of that name that are there.
struct Builder<'a> {
    config: &'a LlamaConfig,
    graph: Graph,
    mask: Option<ValueId>,
    /// Whether keys and values are kept.
    cached: bool,
}

impl Builder<'_> {
    fn build(mut self, ids: ValueId, sentence: Option<&SentenceConfig>) -> Graph {
        let mut x = self.embedding(ids);
        let mut outputs = Vec::new();
        for layer in 0..self.config.num_hidden_layers {
            outputs.push(x);
            x = self.layer(layer, x);
        }
        let last = self.norm(LAST_HIDDEN_STATE, x, "norm");
        outputs.insert(0, last);
        if self.config.has_head {
            outputs.insert(0, self.head(LOGITS, last));
        }
        if self.config.has_head && self.cached {
            let row = Pool { x: last, mask: None, pooling: Pooling::Last, normalize: false };
            let row = self.graph.push("last_position", row);
            outputs.insert(0, self.head(NEXT_LOGITS, row));
        }
        if let (Some(sentence), Some(mask)) = (sentence, self.mask) {
            outputs.insert(0, sentence_embedding(&mut self.graph, last, mask, sentence));
        }
        outputs.into_iter().for_each(|id| self.graph.output(id));
        self.graph
    }

    fn embedding(&mut self, ids: ValueId) -> ValueId {
        let table = self.table();
        let embedding =
            Embedding { ids, token_types: None, table, positions: None, position_offset: 0, types: None, norm: None };
        self.graph.push(&hidden_state(0), embedding)
    }

    fn layer(&mut self, layer: usize, x: ValueId) -> ValueId {
        let at = |part: &str| format!("layers.{layer}.{part}");
        let name = |part: &str| format!("layer.{layer}.{part}");
        let (hidden, inner) = (self.config.hidden_size, self.config.intermediate_size);

        let normed = self.norm(&name("attention.norm"), x, &at("input_layernorm"));
        let attended = self.attention(layer, normed);
        let projection = self.matrix(&at("self_attn.o_proj"), [hidden, self.config.queries()], Role::Attention);
        let x = self.linear(&name("attention.output"), attended, projection, Some(x));

        let normed = self.norm(&name("norm"), x, &at("post_attention_layernorm"));
        let both = self.stacked(&at("mlp"), "gate_up_proj", [("gate_proj", inner), ("up_proj", inner)], Role::Linear);
        let both = self.linear(&name("gate_up"), normed, both, None);
        let gated = self.graph.push(&name("gate"), Gate { x: both, activation: self.config.hidden_act });
        let down = self.matrix(&at("mlp.down_proj"), [hidden, inner], Role::Linear);
        let next = layer + 1;
        let output = if next == self.config.num_hidden_layers { name("output") } else { hidden_state(next) };
        self.linear(&output, gated, down, Some(x))
    }

    /// Attention of a layer, up to its output projection.
    fn attention(&mut self, layer: usize, x: ValueId) -> ValueId {
        let config = self.config;
        let (queries, shared, head_dim) = (config.queries(), config.shared(), config.head_dim);
        let parts = [("q_proj", queries), ("k_proj", shared), ("v_proj", shared)];
        let weight = self.stacked(&format!("layers.{layer}.self_attn"), "qkv_proj", parts, Role::Attention);
        let name = |part: &str| format!("layer.{layer}.{part}");
        let qkv = self.linear(&name("qkv"), x, weight, None);
        let rotary = Rotary {
            x: Columns { value: qkv, start: 0 },
            heads: config.num_attention_heads + config.num_key_value_heads,
            head_dim,
            frequencies: config.rope.frequencies(head_dim),
            style: RotaryStyle::HalfSplit,
            continues: self.cached,
        };
        let turned = self.graph.push(&name("turned"), rotary);
        let places = [(turned, 0), (turned, queries), (qkv, queries + shared)];
        let parts = places.map(|(value, start)| Columns { value, start });
        let (kv_heads, mask) = (config.num_key_value_heads, self.mask);
        let cache = self.cached.then(|| self.cache(layer));
        let plain = Attention::new(parts, config.num_attention_heads, head_dim);
        self.graph.push(&name("attention"), Attention { kv_heads, causal: true, mask, cache, ..plain })
    }

    fn cache(&mut self, layer: usize) -> Cache {
        let [keys, values] = ["keys", "values"].map(|part| self.state(&format!("layers.{layer}.{part}")));
        Cache { keys, values }
    }

    /// Keys or values of a layer, `[kv_heads, head_dim]` a position.
    fn state(&mut self, name: &str) -> StateId {
        let config = self.config;
        let shape = [config.num_key_value_heads, config.head_dim].map(Dim::Fixed).to_vec();
        let capacity = Dim::Fixed(config.max_position_embeddings);
        self.graph.state(State { name: name.to_owned(), dtype: DType::F32, shape, capacity })
    }

    fn head(&mut self, name: &str, x: ValueId) -> ValueId {
        let shape = [self.config.vocab_size, self.config.hidden_size];
        let tied = self.config.tie_word_embeddings;
        let weight = if tied { self.table() } else { self.weight(HEAD, shape, Role::Linear, &[HEAD]) };
        self.linear(name, x, (weight, None), None)
    }

    fn table(&mut self) -> WeightId {
        let shape = [self.config.vocab_size, self.config.hidden_size];
        self.weight(TABLE, shape, Role::Embedding, &[TABLE])
    }

    fn linear(
        &mut self,
        name: &str,
        x: ValueId,
        (weight, bias): (WeightId, Option<WeightId>),
        residual: Option<ValueId>,
    ) -> ValueId {
        self.graph.push(name, Linear { x, weight, bias, activation: Activation::Identity, residual })
    }

    fn norm(&mut self, name: &str, x: ValueId, source: &str) -> ValueId {
        let source = format!("{source}.weight");
        let weight = self.weight(&source, [self.config.hidden_size], Role::Vector, &[&source]);
        self.graph.push(name, Norm { x, by: Normalization::rms(weight, self.config.rms_norm_eps) })
    }

    /// A projection with its bias, where it has one.
    fn matrix(&mut self, source: &str, shape: [usize; 2], role: Role) -> (WeightId, Option<WeightId>) {
        let (weight, bias) = (format!("{source}.weight"), format!("{source}.bias"));
        let weight = self.weight(&weight, shape, role, &[&weight]);
        let has_bias = self.has_bias(role);
        (weight, has_bias.then(|| self.weight(&bias, [shape[0]], Role::Vector, &[&bias])))
    }

    /// Projections of the hidden states in one matrix, called `name`, with the rows of each; their biases, where they have such.
    fn stacked<const N: usize>(
        &mut self,
        block: &str,
        name: &str,
        parts: [(&str, usize); N],
        role: Role,
    ) -> (WeightId, Option<WeightId>) {
        let (hidden, has_bias) = (self.config.hidden_size, self.has_bias(role));
        let rows = parts.iter().map(|(_, rows)| rows).sum();
        let mut stack = |what: &str, shape: &[usize], role| {
            let sources = parts.map(|(part, _)| format!("{block}.{part}.{what}"));
            self.weight(&format!("{block}.{name}.{what}"), shape, role, &sources.each_ref().map(String::as_str))
        };
        let weight = stack("weight", &[rows, hidden], role);
        (weight, has_bias.then(|| stack("bias", &[rows], Role::Vector)))
    }

    /// Whether projections of that block have biases.
    fn has_bias(&self, role: Role) -> bool {
        if role == Role::Attention { self.config.attention_bias } else { self.config.mlp_bias }
    }

    /// The weight of that name: another graph's of the program, or a new one.
    fn weight(&mut self, name: &str, shape: impl Into<Vec<usize>>, role: Role, sources: &[&str]) -> WeightId {
        self.graph.find_weight(name).unwrap_or_else(|| self.graph.weight(name, shape, role, sources))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelConfig;
    use serde_json::{Value, json};
    use webnibble_common::graph::{Op, Pooling};

    fn small() -> Value {
        json!({"model_type": "llama", "vocab_size": 70, "hidden_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 96})
    }

    fn with(field: &str, value: Value) -> Result<ModelConfig, String> {
        let mut config = small();
        config[field] = value;
        ModelConfig::from_json(&config).map_err(|error| error.to_string())
    }

    fn names(graph: &Graph) -> Vec<&str> {
        graph.output_names().collect()
    }

    #[test]
    fn a_layer_is_nine_operators() {
        let graph = ModelConfig::from_json(&small()).unwrap().graph(None);
        graph.validate().unwrap();
        assert_eq!(graph.nodes.len(), 1 + 2 * 9 + 2);
        let layer: Vec<&str> = graph.nodes[1..10].iter().map(|node| node.op.name()).collect();
        let expected = ["norm", "linear", "rotary", "attention", "linear", "norm", "linear", "gate", "linear"];
        assert_eq!(layer, expected);
        assert_eq!(names(&graph), ["logits", "last_hidden_state", "hidden_states.0", "hidden_states.1"]);
        let inputs: Vec<&str> = graph.inputs.iter().map(|id| graph.value_of(*id).name.as_str()).collect();
        assert_eq!(inputs, ["input_ids"]);
    }

    #[test]
    fn parameters_are_those_that_transformers_counts() {
        // TinyLlama 1.1B, and LLaMA 3.2 1B, whose head is its token table.
        let tiny = json!({"model_type": "llama", "vocab_size": 32000, "hidden_size": 2048, "num_hidden_layers": 22,
            "num_attention_heads": 32, "num_key_value_heads": 4, "intermediate_size": 5632});
        assert_eq!(ModelConfig::from_json(&tiny).unwrap().graph(None).parameters(), 1_100_048_384);
        let tied = json!({"model_type": "llama", "vocab_size": 128_256, "hidden_size": 2048, "num_hidden_layers": 16,
            "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 8192, "head_dim": 64,
            "tie_word_embeddings": true});
        assert_eq!(ModelConfig::from_json(&tied).unwrap().graph(None).parameters(), 1_235_814_400);
    }

    #[test]
    fn biases_a_head_and_pooling_are_there_where_the_model_has_them() {
        let graph = with("attention_bias", json!(true)).unwrap().graph(None);
        graph.validate().unwrap();
        let sources = |name: &str| graph.find_weight(name).map(|id| graph.weight_of(id).sources.clone());
        let qkv = ["q", "k", "v"].map(|part| format!("layers.1.self_attn.{part}_proj.bias"));
        assert_eq!(sources("layers.1.self_attn.qkv_proj.bias").unwrap(), qkv);
        assert!(
            sources("layers.1.self_attn.o_proj.bias").is_some() && sources("layers.1.mlp.down_proj.bias").is_none()
        );
        let graph = with("mlp_bias", json!(true)).unwrap().graph(None);
        graph.validate().unwrap();
        assert!(graph.find_weight("layers.0.mlp.gate_up_proj.bias").is_some());
        let base = with("architectures", json!(["LlamaModel"])).unwrap();
        assert_eq!(names(&base.graph(None))[0], "last_hidden_state");
        let graph = base.graph(Some(&SentenceConfig::new(Pooling::Mean, true, None)));
        graph.validate().unwrap();
        assert_eq!(names(&graph)[..2], ["sentence_embedding", "last_hidden_state"]);
        let masked = |op: &Op| matches!(op, Op::Attention(Attention { mask: Some(_), .. }));
        assert_eq!(graph.nodes.iter().filter(|node| masked(&node.op)).count(), 2);
    }

    #[test]
    fn unsupported_variants_are_refused() {
        let error = |field: &str, value: Value| with(field, value).unwrap_err();
        assert_eq!(
            error("num_key_value_heads", json!(4)),
            "config.json: `num_key_value_heads` should be a divisor of `num_attention_heads` (6), found 4"
        );
        assert_eq!(error("head_dim", json!(7)), "config.json: `head_dim` should be even, and at most 256, found 7");
        assert_eq!(
            error("num_attention_heads", json!(10)),
            "config.json: `hidden_size` should be a multiple of `num_attention_heads` (10) where there is no `head_dim`, \
             found 48"
        );
        assert!(error("hidden_act", json!("mish")).ends_with("found `mish`"));
        let mut many = small();
        (many["head_dim"], many["num_attention_heads"]) = (json!(256), json!(2_000_000_000));
        let error = ModelConfig::from_json(&many).unwrap_err().to_string();
        assert!(error.contains("`num_attention_heads` should be at most 2796202 for heads of 256 columns"), "{error}");
    }

    #[test]
    fn counts_are_those_of_the_checkpoint_or_the_package() {
        let graph = ModelConfig::from_json(&small()).unwrap().graph(None);
        let in_package = |name: &str| graph.find_weight(name).map(|id| graph.weight_of(id).shape.clone());
        let in_checkpoint = |name: &str| match name {
            "layers.0.self_attn.k_proj.weight" => Some(vec![16, 48]),
            "layers.0.self_attn.qkv_proj.weight" => None,
            name => in_package(name),
        };
        let shapes: [ShapeOf<'_>; 2] = [&in_package, &in_checkpoint];
        let check = |field: &str, value: u64, shape_of| {
            let checked = with(field, json!(value)).map(|config| config.check_counts(shape_of).err());
            checked.unwrap().map(|error| error.to_string()).unwrap_or_default()
        };
        for shape_of in shapes {
            assert_eq!(check("num_hidden_layers", 1, shape_of), "");
            assert_eq!(
                check("num_hidden_layers", 3, shape_of),
                "config.json: `num_hidden_layers` is 3, but there are tensors for 2"
            );
            for (field, value, tensor) in [
                ("vocab_size", 2_000_000_000, "embed_tokens.weight` has shape [70, 48]"),
                ("intermediate_size", 2_000_000_000, "mlp.down_proj.weight` has shape [48, 96]"),
                ("head_dim", 10, "self_attn.o_proj.weight` has shape [48, 48]"),
                ("num_key_value_heads", 3, "_proj.weight` has shape ["),
            ] {
                let error = check(field, value, shape_of);
                assert!(error.contains(tensor), "{error}");
            }
        }
        let error = check("num_key_value_heads", 3, &in_package);
        assert!(error.starts_with("config.json: `num_key_value_heads` is 3, but tensor `layers.0"), "{error}");
        let none = ModelConfig::from_json(&small()).unwrap().check_counts(&|_| None).unwrap_err();
        assert!(none.to_string().starts_with("tensor `embed_tokens.weight` is missing"), "{none}");
    }
}
