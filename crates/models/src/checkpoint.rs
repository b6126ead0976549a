//! Finding a graph's sources among the tensors of a checkpoint.
//!
//! The same encoder is stored under several names: with the family's prefix where a head was trained with it
//! (`bert.encoder…`), and with `gamma` and `beta` for a layer normalization's `weight` and `bias` where the checkpoint
//! was converted from TensorFlow.

/// Prefixes of the families' base models.
const PREFIXES: &[&str] = &["", crate::bert::PREFIX];

/// TensorFlow's names for the parameters of a layer normalization.
const NORM_NAMES: &[(&str, &str)] = &[("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")];

/// The tensor of a checkpoint that is `source` in a graph, `has` saying which tensors it holds.
/// `None` when it is there under no known name: [`candidates`] says which were looked for.
pub fn resolve(has: impl Fn(&str) -> bool, source: &str) -> Option<String> {
    candidates(source).into_iter().find(|name| has(name))
}

/// The names that `source` may have, most usual first.
pub fn candidates(source: &str) -> Vec<String> {
    let renamed = NORM_NAMES.iter().find_map(|(new, old)| source.strip_suffix(new).map(|stem| format!("{stem}{old}")));
    let spellings: Vec<&str> = [Some(source), renamed.as_deref()].into_iter().flatten().collect();
    PREFIXES.iter().flat_map(|prefix| spellings.iter().map(move |name| format!("{prefix}{name}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_and_norm_names_are_found() {
        let found = |tensor: &str, source: &str| resolve(|name| name == tensor, source);
        let source = "encoder.layer.0.output.LayerNorm.weight";
        for tensor in [
            source,
            "bert.encoder.layer.0.output.LayerNorm.weight",
            "encoder.layer.0.output.LayerNorm.gamma",
            "bert.encoder.layer.0.output.LayerNorm.gamma",
        ] {
            assert_eq!(found(tensor, source).as_deref(), Some(tensor));
        }
        assert_eq!(
            found("bert.embeddings.LayerNorm.beta", "embeddings.LayerNorm.bias").as_deref(),
            Some("bert.embeddings.LayerNorm.beta")
        );
    }

    #[test]
    fn a_missing_tensor_is_none() {
        assert_eq!(resolve(|_| false, "embeddings.word_embeddings.weight"), None);
        // `gamma` is a name of normalizations alone.
        assert_eq!(candidates("pooler.dense.weight"), ["pooler.dense.weight", "bert.pooler.dense.weight"]);
    }
}
