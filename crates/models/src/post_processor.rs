//! What the tokenizers library takes for granted of a post-processor: it reads files without it, and panics at the first text.

use serde_json::Value;
use tokenizers::PostProcessorWrapper;

/// Checks the templates of a post-processor, also within a sequence of several.
///
/// # Errors
/// Names the special token that a template has and the file does not, or the second text that a single one has not.
pub(crate) fn check(processor: &PostProcessorWrapper) -> Result<(), String> {
    check_json(&serde_json::to_value(processor).map_err(|error| error.to_string())?)
}

fn check_json(processor: &Value) -> Result<(), String> {
    list(processor, "processors").try_for_each(check_json)?;
    if processor["type"] != "TemplateProcessing" {
        return Ok(());
    }
    let special = |piece: &Value| piece["SpecialToken"]["id"].as_str().map(str::to_owned);
    let known = |token: &String| processor["special_tokens"].get(token).is_some();
    let mut tokens = list(processor, "single").chain(list(processor, "pair")).filter_map(special);
    if let Some(unknown) = tokens.find(|token| !known(token)) {
        return Err(format!("the post-processor's template has `{unknown}`, its special_tokens do not"));
    }
    match list(processor, "single").any(|piece| piece["Sequence"]["id"] == "B") {
        true => Err("the post-processor's template of a single text has a second one, $B".to_owned()),
        false => Ok(()),
    }
}

fn list<'a>(object: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    object[name].as_array().into_iter().flatten()
}
