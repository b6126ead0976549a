//! Texts that begin with a hyphen: `--text "-5 degrees"` names a text, though its first character is that of an option.
//!
//! clap can take every word after an option as its value, or none that begins with a hyphen. Neither fits an option that
//! takes several texts and that others may follow, so such texts are joined to their option first: `--text=-5 degrees`.

use std::ffi::OsString;

/// The option that takes texts.
const TEXT: &str = "--text";

/// Arguments in which no text is mistaken for an option.
pub(crate) fn with_texts_joined(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    // Whether a text may come, and whether it has to.
    let (mut in_texts, mut has_none) = (false, false);
    for arg in args {
        let text = arg.to_str().filter(|arg| in_texts && is_text(arg, has_none));
        match text {
            Some(text) if text.starts_with('-') => {
                if has_none {
                    joined.pop();
                }
                joined.push(format!("{TEXT}={text}").into());
            }
            Some(_)
                if !has_none && joined.last().is_some_and(|last| last.as_encoded_bytes().starts_with(b"--text=")) =>
            {
                joined.push(format!("{TEXT}={}", text.unwrap_or_default()).into());
            }
            _ => {
                in_texts = arg == TEXT || (in_texts && text.is_some());
                joined.push(arg.clone());
            }
        }
        has_none = arg == TEXT && joined.last() == Some(&arg);
    }
    joined
}

/// Whether a word after `--text` is a text: all that has not the form of an option. Where the option has no text yet, only
/// `--name` and `-x` have that form.
fn is_text(word: &str, is_first: bool) -> bool {
    let Some(rest) = word.strip_prefix('-') else { return true };
    let (name, is_long) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
    let name = if is_long { name.split('=').next().unwrap_or_default() } else { name };
    let named = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let is_option = named(name) && (is_long || !is_first || name.len() == 1);
    !is_option && word != "--"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(args: &[&str]) -> Vec<String> {
        let joined = with_texts_joined(args.iter().map(OsString::from));
        joined.into_iter().map(|arg| arg.into_string().unwrap()).collect()
    }

    #[test]
    fn texts_with_a_hyphen_are_joined_to_their_option() {
        assert_eq!(joined(&["run", "--text", "-5 degrees", "--json"]), ["run", "--text=-5 degrees", "--json"]);
        assert_eq!(joined(&["run", "--text", "-hello", "-v"]), ["run", "--text=-hello", "-v"]);
        assert_eq!(joined(&["--text", "--5 below", "-", "---"]), ["--text=--5 below", "--text=-", "--text=---"]);
        assert_eq!(
            joined(&["--text", "a", "-1", "b", "-m", "-x"]),
            ["--text", "a", "--text=-1", "--text=b", "-m", "-x"]
        );
        assert_eq!(joined(&["--text", "- a", "b", "c"]), ["--text=- a", "--text=b", "--text=c"]);
    }

    #[test]
    fn options_stay_options() {
        for args in [
            &["run", "--text", "a", "b", "--json", "-m", "-model"][..],
            &["run", "--text", "--ids", "file"],
            &["run", "--text", "a", "--bits=4", "-vm"],
            &["run", "--model", "-x", "--calibrate", "-5 degrees"],
            &["run", "--text", "--", "-5"],
        ] {
            assert_eq!(joined(args), args);
        }
    }
}
