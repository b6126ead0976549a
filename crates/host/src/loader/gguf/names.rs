//! A LLaMA's tensors by the names of its checkpoints, which the rest of the host knows, from those of GGUF.

use super::error::GgufError;

/// Factors by which pairs of columns turn slower: no weight, but what the configuration is told by.
pub(super) const ROPE_FREQS: &str = "rope_freqs.weight";

/// The token table.
pub(super) const TABLE: &str = "token_embd.weight";

/// The head's matrix, where it is not the token table.
pub(super) const HEAD: &str = "output.weight";

/// Parts of a layer: GGUF's name, a checkpoint's.
const PARTS: &[(&str, &str)] = &[
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// Whose heads the rows of a tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heads {
    Queries,
    Keys,
}

/// The name in a checkpoint.
///
/// # Errors
/// [`GgufError::Tensor`] for one that a LLaMA's graph has no place for: leaving it out would change the answer.
pub(super) fn checkpoint_name(name: &str) -> Result<String, GgufError> {
    let found = match name {
        TABLE => Some("model.embed_tokens.weight".to_owned()),
        "output_norm.weight" => Some("model.norm.weight".to_owned()),
        HEAD => Some("lm_head.weight".to_owned()),
        ROPE_FREQS => Some(ROPE_FREQS.to_owned()),
        _ => of_layer(name),
    };
    let unknown = || GgufError::tensor(name, "expected a tensor of a LLaMA, which has none of this name");
    found.ok_or_else(unknown)
}

fn of_layer(name: &str) -> Option<String> {
    let (layer, part) = name.strip_prefix("blk.")?.split_once('.')?;
    let layer: u32 = layer.parse().ok()?;
    let (part, kind) = part.rsplit_once('.').filter(|(_, kind)| ["weight", "bias"].contains(kind))?;
    let (_, part) = PARTS.iter().find(|(short, _)| *short == part)?;
    Some(format!("model.layers.{layer}.{part}.{kind}"))
}

/// Whose heads the rows of a tensor are that GGUF has in another order, by its name in a checkpoint.
pub(super) fn heads_of(checkpoint_name: &str) -> Option<Heads> {
    let in_layer =
        |part: &str| ["weight", "bias"].iter().any(|kind| checkpoint_name.ends_with(&format!(".{part}.{kind}")));
    match () {
        () if in_layer("self_attn.q_proj") => Some(Heads::Queries),
        () if in_layer("self_attn.k_proj") => Some(Heads::Keys),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_gguf_become_those_of_checkpoints() {
        let name = |name: &str| checkpoint_name(name).unwrap();
        assert_eq!(name("blk.12.attn_q.weight"), "model.layers.12.self_attn.q_proj.weight");
        assert_eq!(name("blk.0.ffn_norm.weight"), "model.layers.0.post_attention_layernorm.weight");
        assert_eq!(name("output.weight"), "lm_head.weight");
        assert_eq!(heads_of(&name("blk.1.attn_k.bias")), Some(Heads::Keys));
        assert_eq!(heads_of(&name("blk.1.attn_v.weight")), None);
        for other in ["blk.0.ffn_gate_inp.weight", "blk.x.attn_q.weight", "blk.0.attn_q.scale", "cls.weight"] {
            let error = checkpoint_name(other).unwrap_err().to_string();
            assert!(error.starts_with(&format!("tensor `{other}`: expected a tensor of a LLaMA")), "{error}");
        }
    }
}
