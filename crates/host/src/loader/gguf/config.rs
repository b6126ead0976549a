//! The `config.json` that a LLaMA's metadata comes to, as Hugging Face writes it.

use serde_json::{Value, json};
use webnibble_models::rope::{Rope, RopeScaling};

use super::error::{ARCHITECTURES, GgufError};
use super::file::Header;
use super::metadata::Metadata;
use super::names::{HEAD, TABLE};

/// How far the factors of a file may be from those of a known rule: they are f32, computed by others.
const NEAR: f32 = 1e-4;

/// Positions of LLaMA 3's first training, and what its rule calls quick and slow: every model with factors in its file has
/// these, and of the file only how many times slower the slowest pair turns is to be learnt.
const LLAMA3: (f32, f32, usize) = (1.0, 4.0, 8192);

/// The configuration. `rope_factors` are the values of `rope_freqs.weight`, where the file has them.
///
/// # Errors
/// For another architecture, for what is missing, and for what the graph would compute otherwise than the file asks.
pub(super) fn config(header: &Header, rope_factors: Option<&[f32]>) -> Result<Value, GgufError> {
    let metadata = &header.metadata;
    let family = metadata.text("general.architecture")?.unwrap_or("nothing");
    if !ARCHITECTURES.contains(&family) {
        return Err(GgufError::Architecture { found: family.to_owned() });
    }
    refuse_variants(metadata)?;
    let heads = metadata.required_count("llama.attention.head_count")?;
    let hidden = metadata.required_count("llama.embedding_length")?;
    let head_dim = head_dim(metadata, hidden, heads)?;
    let theta = metadata.float("llama.rope.freq_base")?.unwrap_or(10_000.0);
    let eps = metadata.float("llama.attention.layer_norm_rms_epsilon")?;
    let has = |tensor: &str| header.tensors.contains_key(tensor);
    let mut config = json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu",
        "vocab_size": vocab_size(header)?,
        "hidden_size": hidden,
        "num_hidden_layers": metadata.required_count("llama.block_count")?,
        "num_attention_heads": heads,
        "num_key_value_heads": metadata.count("llama.attention.head_count_kv")?.unwrap_or(heads),
        "head_dim": head_dim,
        "intermediate_size": metadata.required_count("llama.feed_forward_length")?,
        "max_position_embeddings": metadata.required_count("llama.context_length")?,
        "rms_norm_eps": eps.ok_or_else(|| GgufError::metadata("llama.attention.layer_norm_rms_epsilon", "a number", "nothing"))?,
        "rope_theta": theta,
        "rope_scaling": rope_scaling(metadata, rope_factors, theta as f32, head_dim)?,
        "tie_word_embeddings": !has(HEAD),
        "attention_bias": has("blk.0.attn_q.bias"),
        "mlp_bias": has("blk.0.ffn_down.bias"),
    });
    for (field, key) in [("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")] {
        if let Some(id) = metadata.count(&format!("tokenizer.ggml.{key}_token_id"))? {
            config[field] = id.into();
        }
    }
    Ok(config)
}

/// Metadata under which the architecture is another model than the graph's.
fn refuse_variants(metadata: &Metadata) -> Result<(), GgufError> {
    let parts = "split.count";
    if let Some(count) = metadata.count(parts)?.filter(|count| *count > 1) {
        return Err(GgufError::metadata(parts, "1: files in parts are to be merged first", count.to_string()));
    }
    let experts = "llama.expert_count";
    if let Some(count) = metadata.count(experts)?.filter(|count| *count > 0) {
        return Err(GgufError::metadata(experts, "0: models of experts are not read", count.to_string()));
    }
    let causal = "llama.attention.causal";
    match metadata.flag(causal)? {
        Some(false) => Err(GgufError::metadata(causal, "true: encoders are not read", "false")),
        _ => Ok(()),
    }
}

/// Width of a head: told, or what the heads divide the hidden states into. All of it has to turn.
fn head_dim(metadata: &Metadata, hidden: u64, heads: u64) -> Result<u64, GgufError> {
    let (keys, values) = ("llama.attention.key_length", "llama.attention.value_length");
    let head_dim = match metadata.count(keys)? {
        Some(told) => told,
        None if heads > 0 && hidden.is_multiple_of(heads) => hidden / heads,
        None => {
            let expected = format!("a divisor of `llama.embedding_length` ({hidden})");
            return Err(GgufError::metadata("llama.attention.head_count", expected, heads.to_string()));
        }
    };
    for key in [values, "llama.rope.dimension_count"] {
        if let Some(other) = metadata.count(key)?.filter(|other| *other != head_dim) {
            return Err(GgufError::metadata(key, format!("{head_dim}, the width of a head"), other.to_string()));
        }
    }
    Ok(head_dim)
}

/// Rows of the token table, which the vocabulary has to be as long as.
fn vocab_size(header: &Header) -> Result<usize, GgufError> {
    let table = header
        .tensors
        .get(TABLE)
        .ok_or_else(|| GgufError::tensor(TABLE, "expected the token table, found no tensor of this name"))?;
    let rows = table.shape[0];
    let told = header.metadata.count("llama.vocab_size")?.map(|told| ("llama.vocab_size", told));
    let tokens = header.metadata.texts("tokenizer.ggml.tokens")?.map(|all| ("tokenizer.ggml.tokens", all.len() as u64));
    match [told, tokens].into_iter().flatten().find(|(_, count)| *count != rows as u64) {
        Some((key, count)) => {
            Err(GgufError::metadata(key, format!("{rows}, as many as `{TABLE}` has rows"), count.to_string()))
        }
        None => Ok(rows),
    }
}

fn rope_scaling(
    metadata: &Metadata,
    factors: Option<&[f32]>,
    theta: f32,
    head_dim: u64,
) -> Result<Option<Value>, GgufError> {
    let key = "llama.rope.scaling.type";
    let old = metadata.float("llama.rope.scale_linear")?;
    let kind = metadata.text(key)?.unwrap_or(if old.is_some() { "linear" } else { "none" });
    let linear =
        match kind {
            "none" => None,
            "linear" => {
                let factor = metadata.float("llama.rope.scaling.factor")?.or(old);
                Some(factor.ok_or_else(|| {
                    GgufError::metadata("llama.rope.scaling.factor", "a number for `linear`", "nothing")
                })?)
            }
            other => return Err(GgufError::metadata(key, "`none` or `linear`", format!("`{other}`"))),
        };
    match (factors, linear) {
        (None, None) => Ok(None),
        (None, Some(factor)) => Ok(Some(json!({"rope_type": "linear", "factor": factor}))),
        (Some(factors), None) => llama3(factors, theta, head_dim as usize),
        (Some(_), Some(_)) => {
            Err(GgufError::metadata(key, "`none` where there is `rope_freqs.weight`", format!("`{kind}`")))
        }
    }
}

/// LLaMA 3's rule that gives these factors, one a pair of columns: GGUF has what came of it, Hugging Face the rule.
fn llama3(factors: &[f32], theta: f32, head_dim: usize) -> Result<Option<Value>, GgufError> {
    let most = factors.iter().copied().fold(1.0, f32::max);
    if factors.iter().all(|factor| *factor == 1.0) && factors.len() == head_dim / 2 {
        return Ok(None);
    }
    let (low, high, positions) = LLAMA3;
    let scaling = RopeScaling::Llama3 {
        factor: most,
        low_freq_factor: low,
        high_freq_factor: high,
        original_max_position_embeddings: positions,
    };
    let plain = Rope { theta, scaling: RopeScaling::None }.frequencies(head_dim);
    let scaled = Rope { theta, scaling }.frequencies(head_dim);
    let expected = plain.iter().zip(scaled).map(|(plain, scaled)| plain / scaled);
    if factors.len() != plain.len()
        || factors.iter().zip(expected).any(|(found, rule)| (found / rule - 1.0).abs() > NEAR || found.is_nan())
    {
        let expected = format!("expected the factors of LLaMA 3's rule for heads of {head_dim} columns");
        return Err(GgufError::tensor("rope_freqs.weight", format!("{expected}, found others")));
    }
    Ok(Some(json!({"rope_type": "llama3", "factor": most, "low_freq_factor": low, "high_freq_factor": high,
        "original_max_position_embeddings": positions})))
}
