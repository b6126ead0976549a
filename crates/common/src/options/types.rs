//! What the types of options have in common: how a value is typed, and what TypeScript calls the type.

use super::kinds::ExecutionProvider;
use crate::quant::{Bits, Granularity, Scheme};

/// A type that an option of the table may have.
pub trait OptionType: Sized {
    /// What stands for a value in the help of the command line. A switch is named alone, and has none.
    const VALUE_NAME: Option<&'static str>;
    /// Its type in TypeScript.
    const TYPESCRIPT: &'static str;

    /// Reads a value as it is typed; a switch is `true` or `false`.
    ///
    /// # Errors
    /// Says what was expected and what was found.
    fn parse(text: &str) -> Result<Self, String>;
}

impl OptionType for bool {
    const VALUE_NAME: Option<&'static str> = None;
    const TYPESCRIPT: &'static str = "boolean";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("expected true or false, found `{text}`"))
    }
}

impl OptionType for u32 {
    const VALUE_NAME: Option<&'static str> = Some("N");
    const TYPESCRIPT: &'static str = "number";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("expected a whole number, found `{text}`"))
    }
}

impl OptionType for String {
    const VALUE_NAME: Option<&'static str> = Some("NAME");
    const TYPESCRIPT: &'static str = "string";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl OptionType for Bits {
    const VALUE_NAME: Option<&'static str> = Some("N");
    const TYPESCRIPT: &'static str = "2 | 4 | 8 | 16 | 32";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

impl OptionType for Scheme {
    const VALUE_NAME: Option<&'static str> = Some("SCHEME");
    const TYPESCRIPT: &'static str = r#""symmetric" | "asymmetric""#;

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "symmetric" => Ok(Self::Symmetric),
            "asymmetric" => Ok(Self::Asymmetric),
            _ => Err(format!("expected symmetric or asymmetric, found `{text}`")),
        }
    }
}

impl OptionType for Granularity {
    const VALUE_NAME: Option<&'static str> = Some("GRANULARITY");
    const TYPESCRIPT: &'static str = r#""tensor" | "channel" | { group: number }"#;

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "tensor" => Ok(Self::Tensor),
            "channel" => Ok(Self::Channel),
            size => size
                .parse()
                .map(Self::Group)
                .map_err(|_| format!("expected tensor, channel or the size of a group, found `{text}`")),
        }
    }
}

impl OptionType for ExecutionProvider {
    const VALUE_NAME: Option<&'static str> = Some("DEVICE");
    const TYPESCRIPT: &'static str = r#""cpu" | "gpu" | "npu""#;

    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

impl OptionType for [u32; 3] {
    const VALUE_NAME: Option<&'static str> = Some("X,Y,Z");
    const TYPESCRIPT: &'static str = "[number, number, number]";

    fn parse(text: &str) -> Result<Self, String> {
        let expected = || format!("expected three numbers such as 256,1,1, found `{text}`");
        let numbers: Result<Vec<u32>, _> = text.split(',').map(|part| part.trim().parse()).collect();
        numbers.map_err(|_| expected())?.try_into().map_err(|_| expected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_typed() {
        assert_eq!(bool::parse("true"), Ok(true));
        assert_eq!(u32::parse("4"), Ok(4));
        assert_eq!(Bits::parse("8"), Ok(Bits::B8));
        assert_eq!(Scheme::parse("asymmetric"), Ok(Scheme::Asymmetric));
        assert_eq!(["tensor", "64"].map(Granularity::parse), [Ok(Granularity::Tensor), Ok(Granularity::Group(64))]);
        assert_eq!(<[u32; 3]>::parse("256, 1,1"), Ok([256, 1, 1]));
        for error in [
            u32::parse("-1").unwrap_err(),
            Scheme::parse("-1").unwrap_err(),
            Granularity::parse("-1").unwrap_err(),
            <[u32; 3]>::parse("-1").unwrap_err(),
            ExecutionProvider::parse("-1").unwrap_err(),
        ] {
            assert!(error.contains("found `-1`"), "{error}");
        }
    }

    #[test]
    fn typescript_names_every_device() {
        let names: Vec<_> = ExecutionProvider::ALL.iter().map(|one| format!("\"{one}\"")).collect();
        assert_eq!(ExecutionProvider::TYPESCRIPT, names.join(" | "));
    }
}
