//! What lies where a file should be, when a download went wrong: told from the first bytes.

use std::fmt;

/// Something that is not the file whose name it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandIn {
    /// What git has in place of a large file until Git LFS fetches it.
    LfsPointer,
    /// A page of a website: one about the file, of a login, or of an error.
    HtmlPage,
}

impl StandIn {
    /// What these first bytes of a file are, if it is not the file itself. Eight bytes are enough; a model's files never
    /// begin so: JSON begins with `{` or `[`, and a safetensors header would have a length beyond any.
    pub fn of(first: &[u8]) -> Option<StandIn> {
        if first.starts_with(b"version ") {
            return Some(StandIn::LfsPointer);
        }
        let text = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first).trim_ascii_start();
        let starts = |tag: &[u8]| !text.is_empty() && text.iter().zip(tag).all(|(a, b)| a.eq_ignore_ascii_case(b));
        let is_page = text.len() >= 5 && (starts(b"<!doctype html") || starts(b"<html") || starts(b"<head"));
        is_page.then_some(StandIn::HtmlPage)
    }

    /// What to do about it.
    pub fn hint(self) -> &'static str {
        match self {
            StandIn::LfsPointer => {
                "run `git lfs pull` in its folder, or fetch the file itself from where the folder came"
            }
            StandIn::HtmlPage => {
                "fetch the file itself: on the hub its address has `/resolve/`, and that of the page about it has `/blob/`; \
                 where a proxy or HF_ENDPOINT answered, see what it says"
            }
        }
    }
}

impl fmt::Display for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StandIn::LfsPointer => "this is a Git LFS pointer, and not the file itself",
            StandIn::HtmlPage => "this is an HTML page, and not the file itself",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_and_pages_are_told_from_files() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:01\nsize 9\n";
        for bytes in [&pointer[..], &pointer[..8]] {
            assert_eq!(StandIn::of(bytes), Some(StandIn::LfsPointer));
        }
        for page in ["<!DOCTYPE html><html>", "<!doctyp", "\u{feff}\n <HTML lang=en>", "<html>", "<head><title>"] {
            assert_eq!(StandIn::of(page.as_bytes()), Some(StandIn::HtmlPage), "{page}");
        }
        for file in
            [&b"{\"version \": 1}"[..], b"\x60\0\0\0\0\0\0\0{", b"[PAD]\n<s>\n", b"", b"<s>\n<pad>", b"<", b"    "]
        {
            assert_eq!(StandIn::of(file), None);
        }
    }
}
