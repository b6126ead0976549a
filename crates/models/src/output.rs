//! A program's outputs to what the caller asked for.

use std::sync::Arc;

use webnibble_common::graph::Graph;
use webnibble_common::io::{Label, Output, TensorOutput};
use webnibble_common::package::PackageMeta;
use webnibble_common::tensor::Tensor;

use crate::ModelConfig;
use crate::llama::LOGITS;

/// Labels of an item that an answer has at most.
const MOST_LABELS: usize = 5;

/// What a model's answer is made of its first output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// Nothing: it is the answer itself.
    #[default]
    Outputs,
    /// Each row is an item's embedding.
    Embeddings,
    /// Each row scores these labels.
    Labels(Arc<[String]>),
}

impl Answers {
    /// Of the model of a package.
    pub fn of(meta: &PackageMeta) -> Self {
        if meta.sentence.is_some() {
            return Self::Embeddings;
        }
        let config = ModelConfig::from_json(&meta.config);
        config.ok().and_then(|config| Some(Self::Labels(config.labels()?.into()))).unwrap_or_default()
    }

    /// What the model does, as records say it.
    pub fn task(&self) -> Option<&'static str> {
        match self {
            Self::Outputs => None,
            Self::Embeddings => Some("sentence-embedding"),
            Self::Labels(_) => Some("image-classification"),
        }
    }
}

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
        let is_scores = |id| graph.value_of(id).name == LOGITS && graph.value_of(id).shape.len() == 3;
        return if graph.outputs.first().copied().is_some_and(is_scores) {
            Err(OutputError::NoAnswer { known: known().collect() })
        } else {
            Ok(answer)
        };
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
    answers: &Answers,
) -> Option<impl Iterator<Item = &'a [f32]> + use<'a>> {
    rows(outputs, asked).filter(|_| *answers == Answers::Embeddings)
}

/// The likeliest labels that are the answer, a list an item, where it is such an answer.
pub fn labels(outputs: &[(String, Tensor)], asked: &[String], answers: &Answers) -> Option<Vec<Vec<Label>>> {
    let Answers::Labels(labels) = answers else { return None };
    Some(rows(outputs, asked)?.map(|scores| likeliest(scores, labels)).collect())
}

/// Rows of the first output, where none was asked for by name.
fn rows<'a>(outputs: &'a [(String, Tensor)], asked: &[String]) -> Option<impl Iterator<Item = &'a [f32]> + use<'a>> {
    let (_, first) = outputs.first().filter(|_| asked.is_empty())?;
    let [_, width] = first.shape() else { return None };
    Some(first.as_f32().ok()?.chunks((*width).max(1)))
}

/// The likeliest labels of a row of scores, by softmax over all of them.
fn likeliest(scores: &[f32], labels: &[String]) -> Vec<Label> {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = scores.iter().map(|score| f64::from(score - top).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let mut order: Vec<usize> = (0..scores.len()).collect();
    // Stable: of equals the first label comes first.
    order.sort_by(|one, other| scores[*other].total_cmp(&scores[*one]));
    let label = |id: usize| Label {
        label: labels.get(id).cloned().unwrap_or_else(|| format!("LABEL_{id}")),
        probability: (weights[id] / sum) as f32,
    };
    order.into_iter().take(MOST_LABELS).map(label).collect()
}

/// The answer of a model: where outputs were `asked` for by name, these; else what `answers` says of its first. `None` where
/// there is none, or one whose elements are no floats.
pub fn answer(outputs: &[(String, Tensor)], asked: &[String], answers: &Answers) -> Option<Output> {
    if let Some(embeddings) = embeddings(outputs, asked, answers) {
        return Some(Output::Embeddings { embeddings: embeddings.map(<[f32]>::to_vec).collect() });
    }
    if let Some(labels) = labels(outputs, asked, answers) {
        return Some(Output::Labels { labels });
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
        assert_eq!(answer(&outputs, &[], &Answers::Embeddings), Some(Output::Embeddings { embeddings }));
        let tensors = BTreeMap::from([("out".to_owned(), TensorOutput::of(&tensor).unwrap())]);
        let tensors = Some(Output::Tensors { tensors });
        assert_eq!(answer(&outputs, &[], &Answers::Outputs), tensors);
        assert_eq!(
            answer(&outputs, &names(&["out"]), &Answers::Embeddings),
            tensors,
            "by its name an output is what it is"
        );
        assert_eq!(answer(&[], &[], &Answers::Outputs), None);
        let integers = [("out".to_owned(), Tensor::u32([1], vec![1]).unwrap())];
        assert_eq!(answer(&integers, &[], &Answers::Outputs), None);
    }

    #[test]
    fn labels_are_the_likeliest_of_all() {
        let scores = Tensor::f32([2, 3], vec![0.0, 2.0, 2.0, 1e3, -1e3, 0.0]).unwrap();
        let outputs = [("logits".to_owned(), scores)];
        let answers = Answers::Labels(names(&["a", "b", "c"]).into());
        let Some(Output::Labels { labels }) = answer(&outputs, &[], &answers) else { panic!("labels") };
        let order = |item: &[Label]| item.iter().map(|label| label.label.clone()).collect::<Vec<_>>();
        assert_eq!(labels.iter().map(|item| order(item)).collect::<Vec<_>>(), [["b", "c", "a"], ["a", "c", "b"]]);
        let even = 1.0 / (2.0 + (-2.0_f32).exp());
        assert!((labels[0][0].probability - even).abs() < 1e-6 && labels[0][0].probability == labels[0][1].probability);
        assert_eq!((labels[1][0].probability, labels[1][2].probability), (1.0, 0.0));
        let named = names(&["logits"]);
        assert!(matches!(answer(&outputs, &named, &answers), Some(Output::Tensors { .. })));
        assert_eq!(likeliest(&[0.0; 9], &[]).len(), 5);
    }

    #[test]
    fn a_classifier_answers_without_being_asked_for_scores() {
        let graph = ModelConfig::from_json(&json!({"model_type": "vit", "num_hidden_layers": 1})).unwrap().graph(None);
        assert_eq!(wanted(&graph, &[]).unwrap(), ["logits"]);
    }
}
