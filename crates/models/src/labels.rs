//! What a classifier's classes are called, by its `config.json`.

use serde_json::{Map, Value};

use crate::error::ModelError;
use crate::fields::{Fields, wrong};

/// The field that names the classes.
pub(crate) const FIELD: &str = "id2label";

/// Most classes that are taken.
const MOST: usize = 1 << 20;

/// The labels in the order of their ids: those of `id2label`, else as many as `num_labels` says (2 where it says nothing),
/// called as transformers calls them.
///
/// # Errors
/// For ids with gaps, a single label, and where one item may have several labels: probabilities are of one among all.
pub(crate) fn of(fields: Fields<'_>) -> Result<Vec<String>, ModelError> {
    let problem = fields.text("problem_type", "single_label_classification")?;
    if problem != "single_label_classification" {
        return Err(wrong("problem_type", "`single_label_classification`".into(), format!("`{problem}`")));
    }
    let labels = match fields.object(FIELD)?.and_then(|named| named.0.as_object()) {
        Some(named) => in_order(named)?,
        None => (0..fields.count("num_labels", 1..=MOST, 2)?).map(|id| format!("LABEL_{id}")).collect(),
    };
    match labels.len() {
        0 | 1 => Err(wrong(FIELD, "at least two labels".into(), labels.len().to_string())),
        _ => Ok(labels),
    }
}

fn in_order(named: &Map<String, Value>) -> Result<Vec<String>, ModelError> {
    let label = |id: usize| {
        let found = named.get(&id.to_string());
        let label = found.and_then(Value::as_str).map(str::to_owned);
        label.ok_or_else(|| {
            let found = found.map_or("none".to_owned(), ToString::to_string);
            wrong(FIELD, format!("a name for each id up to {}", named.len() - 1), format!("{found} for {id}"))
        })
    };
    (0..named.len()).map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn labels(config: &Value) -> Result<Vec<String>, String> {
        of(Fields(config)).map_err(|error| error.to_string())
    }

    #[test]
    fn labels_are_in_the_order_of_their_ids() {
        let named: Map<String, Value> = (0..12).map(|id| (id.to_string(), json!(format!("class {id}")))).collect();
        let found = labels(&json!({ "id2label": named })).unwrap();
        assert_eq!((found.len(), &*found[2], &*found[10]), (12, "class 2", "class 10"));
        assert_eq!(labels(&json!({})).unwrap(), ["LABEL_0", "LABEL_1"]);
        assert_eq!(labels(&json!({"num_labels": 3})).unwrap()[2], "LABEL_2");
    }

    #[test]
    fn labels_that_cannot_be_are_named() {
        let error = labels(&json!({"id2label": {"0": "a", "2": "b"}})).unwrap_err();
        assert_eq!(error, "config.json: `id2label` should be a name for each id up to 1, found none for 1");
        let error = labels(&json!({"id2label": {"0": "a", "1": 7}})).unwrap_err();
        assert!(error.ends_with("found 7 for 1"), "{error}");
        let error = labels(&json!({"id2label": {"0": "a"}})).unwrap_err();
        assert_eq!(error, "config.json: `id2label` should be at least two labels, found 1");
        let error = labels(&json!({"problem_type": "regression"})).unwrap_err();
        assert!(error.contains("`problem_type` should be `single_label_classification`"), "{error}");
        assert!(labels(&json!({"id2label": ["a", "b"]})).unwrap_err().contains("an object"));
    }
}
