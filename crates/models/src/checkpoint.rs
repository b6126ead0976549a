//! Finding a graph's sources among the tensors of a checkpoint.
//!
//! The same encoder is stored under several names: with the family's prefix where a head was trained with it
//! (`bert.encoder…`), with those that training tools wrap a model in (`module.`, `model.`), and with `gamma` and `beta` for a
//! layer normalization's `weight` and `bias` where the checkpoint was converted from TensorFlow.

/// What may stand before a name, the outermost first: each is there or not.
const PREFIXES: [&str; 4] = ["module.", "model.", crate::vit::PREFIX, crate::bert::PREFIX];

/// TensorFlow's names for the parameters of a layer normalization.
const NORM_NAMES: &[(&str, &str)] = &[("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")];

/// The tensor of a checkpoint that is `source` in a graph, `has` saying which tensors it holds.
/// `None` when it is there under no known name: [`looked_for`] says which were tried.
pub fn resolve(has: impl Fn(&str) -> bool, source: &str) -> Option<String> {
    candidates(source).into_iter().find(|name| has(name))
}

/// The names that `source` may have, most usual first.
fn candidates(source: &str) -> Vec<String> {
    let spellings = spellings(source);
    prefixes().flat_map(|prefix| spellings.iter().map(move |name| format!("{prefix}{name}"))).collect()
}

/// What was looked for, for people: the names of `source`, and in words what may stand before them.
pub fn looked_for(source: &str) -> Vec<String> {
    let mut names = spellings(source);
    names.push(format!("and these after `{}`", PREFIXES.join("`, `")));
    names
}

/// A tensor's name without what stands before it.
pub fn without_prefix(name: &str) -> &str {
    PREFIXES.iter().fold(name, |name, prefix| name.strip_prefix(prefix).unwrap_or(name))
}

fn spellings(source: &str) -> Vec<String> {
    let renamed = NORM_NAMES.iter().find_map(|(new, old)| source.strip_suffix(new).map(|stem| format!("{stem}{old}")));
    [Some(source.to_owned()), renamed].into_iter().flatten().collect()
}

/// Every combination of the prefixes, the shortest first: none at all, then the family's alone.
fn prefixes() -> impl Iterator<Item = String> {
    (0..1 << PREFIXES.len()).map(|set: usize| {
        let kept = PREFIXES.iter().rev().enumerate().filter(move |(bit, _)| set >> bit & 1 == 1);
        kept.fold(String::new(), |after, (_, prefix)| format!("{prefix}{after}"))
    })
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
            "model.encoder.layer.0.output.LayerNorm.weight",
            "module.bert.encoder.layer.0.output.LayerNorm.gamma",
            "module.model.bert.encoder.layer.0.output.LayerNorm.weight",
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
        assert_eq!(candidates("pooler.dense.weight")[..2], ["pooler.dense.weight", "bert.pooler.dense.weight"]);
        assert_eq!(candidates("pooler.dense.weight").len(), 16);
        assert_eq!(looked_for("a.weight"), ["a.weight", "and these after `module.`, `model.`, `vit.`, `bert.`"]);
    }

    #[test]
    fn a_name_is_the_same_without_its_prefix() {
        for name in ["classifier.weight", "module.classifier.weight", "model.bert.classifier.weight"] {
            assert_eq!(without_prefix(name), "classifier.weight");
        }
    }
}
