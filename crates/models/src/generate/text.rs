//! The text of tokens as they come: what is certain of it.

/// Makes text of tokens one by one. It holds back what a later token may change: the bytes of an unfinished character, and
/// what could be the beginning of a text that ends it.
#[derive(Clone, Debug, Default)]
pub(super) struct TextStream {
    stop: Vec<String>,
    tokens: Vec<u32>,
    /// The first token of those that are decoded together: what stands before a token may decide about its space.
    window: usize,
    /// Tokens up to here have given their text.
    done: usize,
    /// Text that could be the beginning of one that ends it.
    held: String,
}

impl TextStream {
    pub(super) fn new(stop: Vec<String>) -> Self {
        Self { stop, ..Self::default() }
    }

    /// Takes a token. Gives what of the text is certain by now and was not before, and whether it ended.
    pub(super) fn push(&mut self, token: u32, decode: impl Fn(&[u32]) -> String) -> (String, bool) {
        self.tokens.push(token);
        let text = self.new_text(&decode);
        // Decoders put this character for bytes that are no whole one, which may be because the rest is still to come.
        if text.is_empty() || text.ends_with(char::REPLACEMENT_CHARACTER) {
            return (String::new(), false);
        }
        self.take(&text)
    }

    /// No token comes any more: gives the rest, and whether a text was in it that ends it.
    pub(super) fn finish(&mut self, decode: impl Fn(&[u32]) -> String) -> (String, bool) {
        let text = self.new_text(&decode);
        let (mut piece, stopped) = self.take(&text);
        if !stopped {
            piece.push_str(&std::mem::take(&mut self.held));
        }
        (piece, stopped)
    }

    /// The text of tokens that gave none yet. A few tokens before them are decoded along, so that spaces come out as in the
    /// whole, and however long the text is.
    fn new_text(&self, decode: impl Fn(&[u32]) -> String) -> String {
        let before = decode(&self.tokens[self.window..self.done]);
        let mut all = decode(&self.tokens[self.window..]);
        match all.starts_with(&before) {
            true => all.split_off(before.len()),
            // A byte that makes no character takes the bytes before it with it: decoders give up the whole run of them. What
            // was told stands, and what is new is decoded alone.
            false => decode(&self.tokens[self.done..]),
        }
    }

    /// Adds certain text; gives what cannot be the beginning of a text that ends it.
    fn take(&mut self, text: &str) -> (String, bool) {
        self.window = self.done;
        self.done = self.tokens.len();
        self.held.push_str(text);
        if let Some(end) = self.stop.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.held.truncate(end);
            return (std::mem::take(&mut self.held), true);
        }
        let open = self.stop.iter().map(|stop| open_end(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - open);
        (std::mem::replace(&mut self.held, rest), false)
    }
}

/// Bytes at the end of `text` that `stop` begins with.
fn open_end(text: &str, stop: &str) -> usize {
    let longest = (stop.len() - 1).min(text.len());
    let begins = |len: &usize| stop.is_char_boundary(*len) && text.ends_with(&stop[..*len]);
    (1..=longest).rev().find(begins).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A vocabulary of single bytes.
    fn bytes(ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().map(|id| *id as u8).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Every piece, and whether it was ended.
    fn pieces(text: &str, stop: &[&str]) -> (Vec<String>, bool) {
        let mut stream = TextStream::new(stop.iter().map(|stop| (*stop).to_owned()).collect());
        let mut pieces = Vec::new();
        for byte in text.bytes() {
            let (piece, stopped) = stream.push(u32::from(byte), bytes);
            pieces.push(piece);
            if stopped {
                return (pieces, true);
            }
        }
        let (piece, stopped) = stream.finish(bytes);
        pieces.push(piece);
        (pieces, stopped)
    }

    #[test]
    fn a_character_comes_whole() {
        assert_eq!(pieces("aé€", &[]).0, ["a", "", "é", "", "", "€", ""]);
        let mut cut = TextStream::default();
        assert_eq!(cut.push(0xe2, bytes), (String::new(), false));
        assert_eq!(cut.finish(bytes), ("\u{fffd}".to_owned(), false), "what never becomes whole is shown as such");
    }

    #[test]
    fn the_beginning_of_what_ends_it_is_held_back() {
        assert_eq!(pieces("abXYcXYZd", &["XYZ"]).0, ["a", "b", "", "", "XYc", "", "", ""]);
        assert!(pieces("abXYcXYZd", &["XYZ"]).1);
        assert_eq!(pieces("abX", &["XYZ"]), (vec!["a".into(), "b".into(), String::new(), "X".into()], false));
        assert_eq!(pieces("xaab", &["aab", "ab"]).0.concat(), "x", "the one that begins first ends it");
        assert_eq!(pieces("aaab", &["aab"]).0.concat(), "a");
    }

    #[test]
    fn a_space_before_a_word_is_that_of_the_whole_text() {
        // As decoders of SentencePiece do: the space before the first word is no part of the text.
        let words = ["▁Once", "▁up", "on"];
        let decode = |ids: &[u32]| {
            let text: String = ids.iter().map(|id| words[*id as usize]).collect::<String>().replace('▁', " ");
            text.strip_prefix(' ').unwrap_or(&text).to_owned()
        };
        let mut stream = TextStream::default();
        let pieces = [0, 1, 2, 1].map(|id| stream.push(id, decode).0);
        assert_eq!(pieces, ["Once", " up", "on", " up"]);
    }

    #[test]
    fn a_stray_byte_does_not_take_what_follows_with_it() {
        // As decoders with a fallback to bytes do: a run of bytes that is no text is given up as a whole.
        let decode = |ids: &[u32]| {
            let mut text = String::new();
            for run in ids.chunk_by(|a, b| (*a >= 256) == (*b >= 256)) {
                let bytes: Vec<u8> = run.iter().map(|id| *id as u8).collect();
                match (run[0] >= 256, String::from_utf8(bytes)) {
                    (true, _) => text.push_str(&"word".repeat(run.len())),
                    (false, Ok(whole)) => text.push_str(&whole),
                    (false, Err(_)) => text.extend(run.iter().map(|_| char::REPLACEMENT_CHARACTER)),
                }
            }
            text
        };
        let mut stream = TextStream::default();
        let pieces: Vec<String> = [0xe2, 0x82, 0xac, 0xe2, 256, 256].map(|id| stream.push(id, decode).0).into();
        assert_eq!(pieces, ["", "", "€", "", "\u{fffd}word", "word"]);
        assert_eq!(stream.push(0xe2, decode).0, "");
        assert_eq!(stream.finish(decode).0, "\u{fffd}");
    }

    proptest! {
        #[test]
        fn pieces_are_the_text_up_to_what_ends_it(text in "[aé€b ]{0,24}", stop in prop::collection::vec("[aé€b ]{1,4}", 0..3)) {
            let stop: Vec<&str> = stop.iter().map(String::as_str).collect();
            let (found, stopped) = pieces(&text, &stop);
            let whole = found.concat();
            prop_assert!(!whole.contains(char::REPLACEMENT_CHARACTER));
            prop_assert!(text.starts_with(&whole));
            prop_assert!(stop.iter().all(|stop| !whole.contains(stop)));
            if stopped {
                prop_assert!(stop.iter().any(|stop| text[whole.len()..].starts_with(stop)));
            } else {
                prop_assert_eq!(whole, text);
            }
        }
    }
}
