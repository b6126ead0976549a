//! The WGSL files, and the names of their permutations.

use std::fmt;

use crate::preprocess;

/// A WGSL file with flags and constants: one pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kernel {
    /// Name of the file, without its ending.
    pub file: &'static str,
    /// Flags for `#ifdef`.
    pub flags: Vec<&'static str>,
    /// Constants, in order of declaration.
    pub constants: Vec<(&'static str, u32)>,
}

impl Kernel {
    /// A kernel without flags and constants.
    pub fn new(file: &'static str) -> Self {
        Self { file, flags: Vec::new(), constants: Vec::new() }
    }

    /// Adds a flag if `condition` holds.
    pub fn flag(mut self, name: &'static str, condition: bool) -> Self {
        if condition {
            self.flags.push(name);
        }
        self
    }

    /// Adds a constant.
    pub fn constant(mut self, name: &'static str, value: u32) -> Self {
        self.constants.push((name, value));
        self
    }

    /// The WGSL text. An error is a bug in a WGSL file.
    pub fn source(&self) -> Result<String, String> {
        preprocess::expand(self.file, &self.flags, &self.constants, &source)
    }
}

/// The file and the permutation as a `#permutation` line has it, which is also the pipeline's label.
impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file)?;
        for flag in &self.flags {
            write!(f, " {flag}")?;
        }
        for (name, value) in &self.constants {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

/// Every WGSL file with its name, in order; the build script finds them.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/wgsl.rs"));

fn source(name: &str) -> Option<&'static str> {
    FILES.binary_search_by_key(&name, |(name, _)| *name).ok().map(|index| FILES[index].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_and_flags_reach_the_text() {
        let kernel = Kernel::new("norm").flag("SUBGROUPS", true).constant("WG", 64);
        let text = kernel.source().unwrap();
        assert!(text.starts_with("enable subgroups;\nconst WG: u32 = 64u;\n"), "{text}");
        assert!(text.contains("subgroupAdd") && !text.contains('#'));
        assert_eq!(kernel.to_string(), "norm SUBGROUPS WG=64");
    }

    #[test]
    fn a_missing_file_is_named() {
        assert_eq!(Kernel::new("nothing").source().unwrap_err(), "there is no WGSL file `nothing`");
    }
}
