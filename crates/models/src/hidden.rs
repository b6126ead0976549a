//! Hidden states, and what is made of them for a whole text: what families share.

use webnibble_common::graph::{Graph, Pool, ValueId};
use webnibble_common::package::SentenceConfig;
use webnibble_common::tensor::DType;

/// Name of the output that holds the hidden states, f32 `[batch, seq, hidden]`.
pub const LAST_HIDDEN_STATE: &str = "last_hidden_state";

/// Name of the output that holds one vector a text, f32 `[batch, hidden]`.
pub const SENTENCE_EMBEDDING: &str = "sentence_embedding";

/// Name of the input that says which tokens are pooled, where those of prompts are not: u32 `[batch, seq]`.
pub const POOLING_MASK: &str = "pooling_mask";

/// Name of what the embeddings gave, or of what so many layers made of it.
pub(crate) fn hidden_state(layers: usize) -> String {
    format!("hidden_states.{layers}")
}

/// Adds the pooling of hidden states `x`, of which `mask` keeps those that count; where prompts are not pooled, the input
/// [`POOLING_MASK`] does.
pub(crate) fn sentence_embedding(graph: &mut Graph, x: ValueId, mask: ValueId, sentence: &SentenceConfig) -> ValueId {
    let SentenceConfig { pooling, normalize, .. } = *sentence;
    let tokens = ["batch".into(), "seq".into()];
    let of_text = sentence.leaves_prompts_out().then(|| graph.input(POOLING_MASK, DType::U32, tokens));
    graph.push(SENTENCE_EMBEDDING, Pool { x, mask: Some(of_text.unwrap_or(mask)), pooling, normalize })
}
