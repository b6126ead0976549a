//! Prompts: what a model wants before its texts, such as `query: `.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The prompts that a model was trained with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompts {
    /// The prompts by their names; an empty one changes nothing.
    pub by_name: BTreeMap<String, String>,
    /// Name of the prompt that is used where the caller names none.
    #[serde(default)]
    pub default_name: Option<String>,
}

/// Which prompt is put before each text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptChoice {
    /// The model's default prompt, where it has one.
    #[default]
    Default,
    /// No prompt.
    None,
    /// The prompt of this name.
    Named(String),
}

/// A prompt by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prompt<'a> {
    /// Its name in the model's configuration.
    pub name: &'a str,
    /// What is put before each text.
    pub text: &'a str,
}

/// The model has no prompt of the name that the caller chose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the model has no prompt `{name}`: {}", known_names(.known))]
pub struct UnknownPrompt {
    /// The name that was chosen.
    pub name: String,
    /// The names that there are.
    pub known: Vec<String>,
}

fn known_names(known: &[String]) -> String {
    match known {
        [] => "it has no prompts at all".to_owned(),
        names => format!("its prompts are {}", names.join(", ")),
    }
}

impl Prompts {
    /// Whether there is no prompt.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    fn get(&self, name: &str) -> Option<Prompt<'_>> {
        self.by_name.get_key_value(name).map(|(name, text)| Prompt { name, text })
    }
}

impl PromptChoice {
    /// The prompt that this choice means for a model with these prompts; `None` where none is put before its texts.
    ///
    /// # Errors
    /// When the model has no prompt of the chosen name.
    pub fn of<'a>(&self, prompts: Option<&'a Prompts>) -> Result<Option<Prompt<'a>>, UnknownPrompt> {
        match self {
            PromptChoice::None => Ok(None),
            PromptChoice::Default => Ok(prompts.and_then(|prompts| prompts.get(prompts.default_name.as_deref()?))),
            PromptChoice::Named(name) => match prompts.and_then(|prompts| prompts.get(name)) {
                Some(prompt) => Ok(Some(prompt)),
                None => {
                    let known = prompts.map(|prompts| prompts.by_name.keys().cloned().collect()).unwrap_or_default();
                    Err(UnknownPrompt { name: name.clone(), known })
                }
            },
        }
    }

    /// Whether nothing was chosen.
    pub fn is_default(&self) -> bool {
        *self == PromptChoice::Default
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts(default_name: Option<&str>) -> Prompts {
        let by_name = [("query", "query: "), ("passage", "passage: ")].map(|(name, text)| (name.into(), text.into()));
        Prompts { by_name: by_name.into(), default_name: default_name.map(str::to_owned) }
    }

    #[test]
    fn the_default_is_taken_unless_another_or_none_is_chosen() {
        let model = prompts(Some("query"));
        let text = |choice: PromptChoice, model: &Prompts| choice.of(Some(model)).unwrap().map(|p| p.text.to_owned());
        assert_eq!(text(PromptChoice::Default, &model).as_deref(), Some("query: "));
        assert_eq!(text(PromptChoice::Named("passage".into()), &model).as_deref(), Some("passage: "));
        assert_eq!(text(PromptChoice::None, &model), None);
        assert_eq!(text(PromptChoice::Default, &prompts(None)), None);
        assert_eq!(PromptChoice::Default.of(None), Ok(None));
    }

    #[test]
    fn an_unknown_name_is_told_with_those_that_there_are() {
        let named = PromptChoice::Named("question".into());
        let error = named.of(Some(&prompts(None))).unwrap_err().to_string();
        assert_eq!(error, "the model has no prompt `question`: its prompts are passage, query");
        assert_eq!(
            named.of(None).unwrap_err().to_string(),
            "the model has no prompt `question`: it has no prompts at all"
        );
    }

    #[test]
    fn choices_have_a_short_form_on_the_wire() {
        let json = |choice: PromptChoice| serde_json::to_value(choice).unwrap();
        assert_eq!(json(PromptChoice::None), "none");
        assert_eq!(json(PromptChoice::Named("query".into())), serde_json::json!({"named": "query"}));
    }
}
