//! The preprocessor of the WGSL files: `#import name`, `#ifdef`, `#ifndef`, `#else`, `#endif`.
//!
//! Constants of a permutation become `const NAME: u32 = value;` lines ahead of the text. Everything else passes
//! through, so that editors and reviewers read nearly the very text that the GPU gets.
//! Shared with the build script, which validates the permutations that a file's `#permutation` lines name.

/// Begins a line with flags, and constants as `NAME=value`, that the build validates the file with. The plan makes more of
/// them; `tests/plan.rs` validates every one that the op problems need.
pub(crate) const PERMUTATION: &str = "#permutation";

/// Expands `file`; `source` gives the text of a file or an import by name.
///
/// Each import is taken once, where it is first named. Errors name the file and line.
pub(crate) fn expand(
    file: &str,
    flags: &[&str],
    constants: &[(&str, u32)],
    source: &dyn Fn(&str) -> Option<&'static str>,
) -> Result<String, String> {
    let mut expansion = Expansion { flags, source, imported: Vec::new(), out: String::new() };
    expansion.file(file)?;
    // Directives such as `enable f16;` must come before any declaration.
    let (enables, body): (Vec<&str>, Vec<&str>) = expansion.out.lines().partition(|line| line.starts_with("enable "));
    let mut text = String::with_capacity(expansion.out.len() + 256);
    for line in enables {
        text.push_str(line);
        text.push('\n');
    }
    for (name, value) in constants {
        text.push_str(&format!("const {name}: u32 = {value}u;\n"));
    }
    for line in body {
        text.push_str(line);
        text.push('\n');
    }
    Ok(text)
}

struct Expansion<'a> {
    flags: &'a [&'a str],
    source: &'a dyn Fn(&str) -> Option<&'static str>,
    imported: Vec<String>,
    out: String,
}

impl Expansion<'_> {
    fn file(&mut self, name: &str) -> Result<(), String> {
        let text = (self.source)(name).ok_or_else(|| format!("there is no WGSL file `{name}`"))?;
        // One entry a nested condition: whether its text is taken.
        let mut conditions: Vec<bool> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let fail = |what: &str| format!("{name}.wgsl:{}: {what}: `{line}`", index + 1);
            let mut words = line.split_whitespace();
            match words.next() {
                Some("#ifdef") => conditions.push(self.flag(words.next().ok_or_else(|| fail("a name is missing"))?)),
                Some("#ifndef") => conditions.push(!self.flag(words.next().ok_or_else(|| fail("a name is missing"))?)),
                Some("#else") => {
                    let last = conditions.last_mut().ok_or_else(|| fail("no condition is open"))?;
                    *last = !*last;
                }
                Some("#endif") => {
                    conditions.pop().ok_or_else(|| fail("no condition is open"))?;
                }
                Some("#import") => {
                    let import = words.next().ok_or_else(|| fail("a name is missing"))?;
                    if conditions.iter().all(|taken| *taken) && !self.imported.iter().any(|i| i == import) {
                        self.imported.push(import.to_owned());
                        self.file(import)?;
                    }
                }
                Some(PERMUTATION) => {}
                Some(word) if word.starts_with('#') => return Err(fail("unknown directive")),
                _ => {
                    if conditions.iter().all(|taken| *taken) {
                        self.out.push_str(line);
                        self.out.push('\n');
                    }
                }
            }
        }
        if conditions.is_empty() { Ok(()) } else { Err(format!("{name}.wgsl: a condition is never closed")) }
    }

    fn flag(&self, name: &str) -> bool {
        self.flags.contains(&name)
    }
}
