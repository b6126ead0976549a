//! Tensors by the names of a program's inputs, which are those of Hugging Face.
//!
//! What follows from the token ids need not be given, as transformers' models do not ask for it: every token counts, and
//! belongs to the first segment.

use webnibble_common::graph::Graph;
use webnibble_common::io::NamedTensors;
use webnibble_common::tensor::{Tensor, element_count};

use crate::bert::POOLING_MASK;

/// Token ids, u32 `[batch, seq]`.
pub const INPUT_IDS: &str = "input_ids";

/// 1 for a token that counts, 0 for padding, u32 `[batch, seq]`.
pub const ATTENTION_MASK: &str = "attention_mask";

/// Segment of each token, u32 `[batch, seq]`.
pub const TOKEN_TYPE_IDS: &str = "token_type_ids";

/// Why tensors by names do not fit a program. Their types and shapes are checked by who runs it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NamedInputError {
    /// A name that the program does not have.
    #[error("the model has no input `{name}`; its inputs are {}", .known.join(", "))]
    Unknown {
        /// The name.
        name: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// A name that was given more than once.
    #[error("input `{name}` should be given once, found it several times")]
    Repeated {
        /// The name.
        name: String,
    },
    /// An input that has to be given, and follows from no other.
    #[error("input `{name}` is missing; given were {}", if .given.is_empty() { "none".to_owned() } else { .given.join(", ") })]
    Missing {
        /// The input.
        name: String,
        /// Those that were given.
        given: Vec<String>,
    },
}

/// Every input of `graph`, in its order: as given, or as it follows from those.
///
/// # Errors
/// For a name that the graph does not have, one that comes twice, and an input that is missing.
pub fn complete(graph: &Graph, given: &[(String, Tensor)]) -> Result<NamedTensors, NamedInputError> {
    let known: Vec<String> = graph.inputs.iter().map(|id| graph.value_of(*id).name.clone()).collect();
    for (index, (name, _)) in given.iter().enumerate() {
        if !known.contains(name) {
            return Err(NamedInputError::Unknown { name: name.clone(), known });
        }
        if given[..index].iter().any(|(before, _)| before == name) {
            return Err(NamedInputError::Repeated { name: name.clone() });
        }
    }
    let find = |name: &str| given.iter().find(|(other, _)| other == name).map(|(_, tensor)| tensor);
    let missing = |name: &str| NamedInputError::Missing {
        name: name.to_owned(),
        given: given.iter().map(|(name, _)| name.clone()).collect(),
    };
    let tensor = |name: String| match find(&name).cloned().or_else(|| implied(&name, &find)) {
        Some(tensor) => Ok((name, tensor)),
        None => Err(missing(&name)),
    };
    known.into_iter().map(tensor).collect()
}

/// An input that follows from those that are given.
fn implied<'a>(name: &str, find: &impl Fn(&str) -> Option<&'a Tensor>) -> Option<Tensor> {
    let like_ids = |value: u32| {
        let shape = find(INPUT_IDS)?.shape();
        Some(Tensor::u32(shape, vec![value; element_count(shape)]).expect("as many elements as the shape has"))
    };
    match name {
        ATTENTION_MASK => like_ids(1),
        TOKEN_TYPE_IDS => like_ids(0),
        POOLING_MASK => find(ATTENTION_MASK).cloned().or_else(|| like_ids(1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use webnibble_common::tensor::DType;

    use super::*;

    fn graph() -> Graph {
        let mut graph = Graph::default();
        for name in [INPUT_IDS, ATTENTION_MASK, TOKEN_TYPE_IDS, POOLING_MASK] {
            graph.input(name, DType::U32, ["batch".into(), "seq".into()]);
        }
        graph
    }

    fn tensor(name: &str, values: &[u32]) -> (String, Tensor) {
        (name.to_owned(), Tensor::u32([1, values.len()], values.to_vec()).unwrap())
    }

    #[test]
    fn what_follows_from_the_ids_need_not_be_given() {
        let found = complete(&graph(), &[tensor(INPUT_IDS, &[5, 6, 7])]).unwrap();
        let expected = [
            tensor(INPUT_IDS, &[5, 6, 7]),
            tensor(ATTENTION_MASK, &[1, 1, 1]),
            tensor(TOKEN_TYPE_IDS, &[0, 0, 0]),
            tensor(POOLING_MASK, &[1, 1, 1]),
        ];
        assert_eq!(found, expected);
        let given = [tensor(ATTENTION_MASK, &[1, 0]), tensor(INPUT_IDS, &[5, 0])];
        let found = complete(&graph(), &given).unwrap();
        assert_eq!((&found[1], &found[3].1), (&given[0], &given[0].1), "padding is not pooled");
    }

    #[test]
    fn names_that_do_not_fit_are_errors_that_list_those_that_do() {
        let error = |given: &[(String, Tensor)]| complete(&graph(), given).unwrap_err().to_string();
        assert_eq!(
            error(&[tensor("pixel_values", &[1])]),
            "the model has no input `pixel_values`; its inputs are input_ids, attention_mask, token_type_ids, pooling_mask"
        );
        assert_eq!(
            error(&[tensor(INPUT_IDS, &[1]), tensor(INPUT_IDS, &[2])]),
            "input `input_ids` should be given once, found it several times"
        );
        assert_eq!(error(&[tensor(ATTENTION_MASK, &[1])]), "input `input_ids` is missing; given were attention_mask");
        assert!(error(&[]).ends_with("given were none"));
    }
}
