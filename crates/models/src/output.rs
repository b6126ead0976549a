//! A program's outputs to what the caller asked for.

use webnibble_common::graph::Graph;
use webnibble_common::io::{Output, TensorOutput};
use webnibble_common::tensor::Tensor;

use crate::llama::LOGITS;

/// A model was asked for what it does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// An output of that name.
    #[error("the model has no output `{name}`; its outputs are {}", .known.join(", "))]
    Unknown {
        /// The name.
        name: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// An answer to one pass over the input, where it goes on from that token by token.
    #[error(
        "the model scores what comes next: have it go on from a prompt, or name the outputs that are wanted, of {}",
        .known.join(", ")
    )]
    NoAnswer {
        /// Names of its outputs.
        known: Vec<String>,
    },
}

/// Names of the outputs of `graph` that are read: those that were `asked` for, each once, or where none was, the one that the
/// answer is made of.
///
/// # Errors
/// For a name that the graph does not have, and where no answer is made of what it has.
pub fn wanted(graph: &Graph, asked: &[String]) -> Result<Vec<String>, OutputError> {
    let known = || graph.output_names().map(str::to_owned);
    if asked.is_empty() {
        let answer: Vec<String> = known().take(1).collect();
        // Scores of every token at every position are no answer, and of a long text they take hundreds of megabytes.
        return if answer == [LOGITS] { Err(OutputError::NoAnswer { known: known().collect() }) } else { Ok(answer) };
    }
    let mut wanted: Vec<String> = Vec::with_capacity(asked.len());
    for name in asked {
        if graph.output_named(name).is_none() {
            return Err(OutputError::Unknown { name: name.clone(), known: known().collect() });
        }
        if !wanted.contains(name) {
            wanted.push(name.clone());
        }
    }
    Ok(wanted)
}

/// The embeddings that are the answer, one an item, where it is such an answer.
pub fn embeddings<'a>(
    outputs: &'a [(String, Tensor)],
    asked: &[String],
    sentence: bool,
) -> Option<impl Iterator<Item = &'a [f32]> + use<'a>> {
    let (_, first) = outputs.first().filter(|_| sentence && asked.is_empty())?;
    let [_, width] = first.shape() else { return None };
    Some(first.as_f32().ok()?.chunks((*width).max(1)))
}

/// The answer of a model: where outputs were `asked` for by name, these; else the embeddings of a `sentence` model, or the
/// output itself. `None` where there is none, or one whose elements are no floats.
pub fn answer(outputs: &[(String, Tensor)], asked: &[String], sentence: bool) -> Option<Output> {
    if let Some(embeddings) = embeddings(outputs, asked, sentence) {
        return Some(Output::Embeddings { embeddings: embeddings.map(<[f32]>::to_vec).collect() });
    }
    outputs.first()?;
    let named = |(name, tensor): &(String, Tensor)| Some((name.clone(), TensorOutput::of(tensor).ok()?));
    Some(Output::Tensors { tensors: outputs.iter().map(named).collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::ModelConfig;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_first_output_is_read_where_none_is_named() {
        let config = json!({"model_type": "bert", "num_hidden_layers": 2});
        let graph = ModelConfig::from_json(&config).unwrap().graph_over(None, &|name| name.starts_with("pooler."));
        assert_eq!(wanted(&graph, &[]).unwrap(), ["last_hidden_state"]);
        let asked = names(&["hidden_states.1", "pooler_output", "hidden_states.1"]);
        assert_eq!(wanted(&graph, &asked).unwrap(), ["hidden_states.1", "pooler_output"]);
        let error = wanted(&graph, &names(&["pooler_output", "logits"])).unwrap_err();
        let expected = "the model has no output `logits`; its outputs are last_hidden_state, pooler_output, \
                        hidden_states.0, hidden_states.1";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn scores_are_read_where_they_are_named() {
        let graph =
            ModelConfig::from_json(&json!({"model_type": "llama", "num_hidden_layers": 1})).unwrap().graph(None);
        assert_eq!(wanted(&graph, &names(&["logits"])).unwrap(), ["logits"]);
        let error = wanted(&graph, &[]).unwrap_err().to_string();
        assert!(error.ends_with("are wanted, of logits, last_hidden_state, hidden_states.0"), "{error}");
    }

    #[test]
    fn an_answer_is_what_was_asked_for() {
        let tensor = Tensor::f32([2, 2], vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        let outputs = [("out".to_owned(), tensor.clone())];
        let embeddings = vec![vec![1.0, 2.0], vec![3.0, 4.0]];
        assert_eq!(answer(&outputs, &[], true), Some(Output::Embeddings { embeddings }));
        let tensors = BTreeMap::from([("out".to_owned(), TensorOutput::of(&tensor).unwrap())]);
        let tensors = Some(Output::Tensors { tensors });
        assert_eq!(answer(&outputs, &[], false), tensors);
        assert_eq!(answer(&outputs, &names(&["out"]), true), tensors, "by its name an output is what it is");
        assert_eq!(answer(&[], &[], false), None);
        let integers = [("out".to_owned(), Tensor::u32([1], vec![1]).unwrap())];
        assert_eq!(answer(&integers, &[], false), None);
    }
}
