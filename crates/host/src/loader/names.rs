//! Short names for what people type, and the names nearest to one that nobody knows.

/// The model that is taken when none is named.
pub const DEFAULT_MODEL: &str = "all-MiniLM-L6-v2";

/// Short names and the hub's.
pub const SHORT_NAMES: &[(&str, &str)] = &[
    ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"),
    ("all-MiniLM-L12-v2", "sentence-transformers/all-MiniLM-L12-v2"),
    ("multi-qa-MiniLM-L6-cos-v1", "sentence-transformers/multi-qa-MiniLM-L6-cos-v1"),
    ("paraphrase-MiniLM-L6-v2", "sentence-transformers/paraphrase-MiniLM-L6-v2"),
    ("bge-small-en-v1.5", "BAAI/bge-small-en-v1.5"),
    ("bge-base-en-v1.5", "BAAI/bge-base-en-v1.5"),
    ("bert-base-uncased", "google-bert/bert-base-uncased"),
    ("bert-base-cased", "google-bert/bert-base-cased"),
    ("bert-large-uncased", "google-bert/bert-large-uncased"),
    ("whisper-tiny", "openai/whisper-tiny"),
    ("wav2vec2-base", "facebook/wav2vec2-base-960h"),
    ("vit-base", "google/vit-base-patch16-224"),
    ("clip-vit-base", "openai/clip-vit-base-patch32"),
    ("t5-small", "google-t5/t5-small"),
];

/// The hub's name for a short one; any other name is its own. A revision after `@` stays.
pub(super) fn hub_name(name: &str) -> String {
    let (id, revision) = name.find('@').map_or((name, ""), |at| name.split_at(at));
    let hub = SHORT_NAMES.iter().find(|(short, _)| short.eq_ignore_ascii_case(id)).map_or(id, |(_, hub)| hub);
    format!("{hub}{revision}")
}

/// The short name of a model, where it has one.
pub(super) fn short_name(name: &str) -> Option<&'static str> {
    let same = |(short, hub): &&(&str, &str)| short.eq_ignore_ascii_case(name) || hub.eq_ignore_ascii_case(name);
    SHORT_NAMES.iter().find(same).map(|(short, _)| *short)
}

/// The short names nearest to `name`.
pub(super) fn nearest_models(name: &str) -> Vec<String> {
    let known: Vec<&str> = SHORT_NAMES.iter().map(|(short, _)| *short).collect();
    // Who types an organization means the model after it.
    let name = name.split('@').next().unwrap_or(name);
    nearest(name.rsplit('/').next().unwrap_or(name), &known)
}

/// At most three of `known` that are nearest to `name`, by the fewest letters to change; none when all are far.
pub fn nearest(name: &str, known: &[&str]) -> Vec<String> {
    let name = name.to_lowercase();
    let letters = name.chars().count();
    let far = (letters / 3).max(2).min(letters / 2);
    let mut near: Vec<(usize, &str)> = known
        .iter()
        .map(|other| (edit_distance(&name, &other.to_lowercase()), *other))
        .filter(|(distance, _)| *distance <= far)
        .collect();
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, other)| other.to_owned()).collect()
}

/// Insertions, deletions and substitutions that make `b` of `a` (Levenshtein, 1966).
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("same", "same"), 0);
    }

    #[test]
    fn misspelt_names_find_their_model() {
        assert_eq!(nearest_models("all-minilm-l6")[0], "all-MiniLM-L6-v2");
        assert_eq!(nearest_models("bert-base-uncasd")[0], "bert-base-uncased");
        assert_eq!(nearest_models("someone/whisper-tny")[0], "whisper-tiny");
        assert!(nearest_models("a-name-like-no-other-model-at-all").is_empty());
    }

    #[test]
    fn short_names_stand_for_the_hubs() {
        assert_eq!(hub_name("ALL-minilm-l6-v2"), "sentence-transformers/all-MiniLM-L6-v2");
        assert_eq!(hub_name("bert-base-uncased@v1"), "google-bert/bert-base-uncased@v1");
        assert_eq!(hub_name("someone/model"), "someone/model");
        assert_eq!(short_name("google-bert/bert-base-uncased"), Some("bert-base-uncased"));
        assert_eq!(short_name("someone/model"), None);
        assert_eq!(short_name(DEFAULT_MODEL), Some(DEFAULT_MODEL));
    }
}
