//! The TypeScript declarations of what a page may choose, from the rows of the table, made by the compiler: wasm-bindgen
//! takes no text that is made later.

use super::table::ROWS;

/// The fields of an interface, one for each option that the page takes, under its help.
pub const PAGE_SETTINGS_TYPESCRIPT: &str = match std::str::from_utf8(TEXT.bytes.split_at(TEXT.length).0) {
    Ok(text) => text,
    Err(_) => panic!("names and help texts are UTF-8"),
};

const TEXT: Text = declarations();

/// A name of Rust as JavaScript has it: `half_tiles` is `halfTiles`.
pub fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_ascii_uppercase() + &word[1..])
}

const fn declarations() -> Text {
    let mut text = Text::EMPTY.push("export interface PageSettings {\n");
    let mut at = 0;
    while at < ROWS.len() {
        let row = &ROWS[at];
        if let Some(of_type) = row.typescript {
            text = text.push("  /** ").push(row.help()).push(". */\n  ");
            text = text.camel_case(row.name).push("?: ").push(of_type).push(";\n");
        }
        at += 1;
    }
    text.push("}\n")
}

/// A text that grows while the program is compiled, up to a size that declarations do not reach.
struct Text {
    bytes: [u8; 8192],
    length: usize,
}

impl Text {
    const EMPTY: Self = Self { bytes: [0; 8192], length: 0 };

    const fn push(mut self, text: &str) -> Self {
        let (bytes, mut at) = (text.as_bytes(), 0);
        while at < bytes.len() {
            self = self.push_byte(bytes[at]);
            at += 1;
        }
        self
    }

    const fn camel_case(mut self, name: &str) -> Self {
        let (bytes, mut at) = (name.as_bytes(), 0);
        while at < bytes.len() {
            let begins_a_word = at > 0 && bytes[at - 1] == b'_';
            if bytes[at] != b'_' {
                self = self.push_byte(if begins_a_word { bytes[at].to_ascii_uppercase() } else { bytes[at] });
            }
            at += 1;
        }
        self
    }

    const fn push_byte(mut self, byte: u8) -> Self {
        self.bytes[self.length] = byte;
        self.length += 1;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_the_page_is_declared_under_its_help() {
        let declared = PAGE_SETTINGS_TYPESCRIPT;
        assert!(declared.starts_with("export interface PageSettings {\n  /** ") && declared.ends_with(";\n}\n"));
        for line in [
            "  activationBits?: 8 | 32;\n",
            "  executionProvider?: \"cpu\" | \"gpu\" | \"npu\";\n",
            "  /** Keep tiles of matrix products in f16, where the adapter has shader-f16. */\n  halfTiles?: boolean;\n",
            "  workgroupSize?: [number, number, number];\n",
        ] {
            assert!(declared.contains(line), "{line} is not in {declared}");
        }
        assert!(!declared.contains("embeddingBits"), "the page does not take it");
    }

    #[test]
    fn names_are_written_as_javascript_writes_them() {
        assert_eq!(["threads", "half_tiles", "deadline_ms"].map(camel_case), ["threads", "halfTiles", "deadlineMs"]);
        for row in ROWS.iter().filter(|row| row.typescript.is_some()) {
            let declared = format!("\n  {}?: ", camel_case(row.name));
            assert!(PAGE_SETTINGS_TYPESCRIPT.contains(&declared), "{declared}");
        }
    }
}
