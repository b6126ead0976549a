//! Dimensions: integer expressions over symbols, and the extents that symbols are bound to.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Add, Mul, Sub};

/// One dimension of a value: a number, a symbol that is bound when an executable is prepared, or an expression over symbols.
///
/// ```
/// # use webnibble_common::graph::{Bindings, Dim};
/// // A convolution over 10 frames in steps of 5.
/// let length = (Dim::from("frames") - 9).div_ceil(5);
/// assert_eq!(length.to_string(), "ceil((frames - 9) / 5)");
/// assert_eq!(Bindings::new([("frames", 400)]).extent(&length), Ok(79));
/// assert_eq!(Dim::from("past") + "seq", Dim::from("seq") + "past");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dim {
    /// A fixed extent.
    Fixed(usize),
    /// A named extent, for example `seq`.
    Symbol(&'static str),
    /// What is made of those by `+`, `-`, `*` and [`Dim::div_ceil`].
    Expression(Expression),
}

/// A sum, a product or a quotient in a form of its own, so that equal ones compare equal whatever the order they were
/// written in. Only the operators of [`Dim`] make one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Expression(Form);

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Form {
    /// Terms in order, none of them a number or a sum, and a constant.
    Sum(Vec<Dim>, i64),
    /// Factors in order, none of them a number or a product, and a constant over 0.
    Product(Vec<Dim>, usize),
    /// Rounded up.
    Quotient(Box<Dim>, usize),
}

/// Why a dimension has no extent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DimError {
    /// A symbol is not bound.
    #[error("dimension `{0}` is not bound")]
    Unbound(&'static str),
    /// An expression is below 0, or larger than any extent.
    #[error("dimension `{0}` is below 0 or far too large for these inputs")]
    OutOfRange(String),
}

impl Dim {
    /// The dimension divided by `by`, rounded up: the steps that cover it. Panics when `by` is 0.
    #[must_use]
    pub fn div_ceil(self, by: usize) -> Self {
        match self {
            Dim::Fixed(extent) => Dim::Fixed(extent.div_ceil(by)),
            dim if by == 1 => dim,
            dim => {
                assert!(by > 0, "{dim} is divided by 0");
                Dim::Expression(Expression(Form::Quotient(Box::new(dim), by)))
            }
        }
    }

    /// Adds the symbols that the dimension depends on.
    pub fn symbols(&self, found: &mut Vec<&'static str>) {
        match self {
            Dim::Fixed(_) => {}
            Dim::Symbol(name) => found.push(name),
            Dim::Expression(Expression(Form::Sum(parts, _) | Form::Product(parts, _))) => {
                parts.iter().for_each(|part| part.symbols(found));
            }
            Dim::Expression(Expression(Form::Quotient(of, _))) => of.symbols(found),
        }
    }

    /// The terms of a sum, and its constant.
    fn into_terms(self) -> (Vec<Dim>, i64) {
        match self {
            Dim::Fixed(extent) => (Vec::new(), extent as i64),
            Dim::Expression(Expression(Form::Sum(terms, constant))) => (terms, constant),
            dim => (vec![dim], 0),
        }
    }

    /// The factors of a product, and its constant.
    fn into_factors(self) -> (Vec<Dim>, usize) {
        match self {
            Dim::Fixed(extent) => (Vec::new(), extent),
            Dim::Expression(Expression(Form::Product(factors, constant))) => (factors, constant),
            dim => (vec![dim], 1),
        }
    }

    fn sum(mut terms: Vec<Dim>, constant: i64) -> Self {
        terms.sort();
        match (&terms[..], constant) {
            ([], constant) if constant >= 0 => Dim::Fixed(constant as usize),
            ([one], 0) => one.clone(),
            _ => Dim::Expression(Expression(Form::Sum(terms, constant))),
        }
    }

    fn product(mut factors: Vec<Dim>, constant: usize) -> Self {
        factors.sort();
        match (&factors[..], constant) {
            (_, 0) => Dim::Fixed(0),
            ([], constant) => Dim::Fixed(constant),
            ([one], 1) => one.clone(),
            _ => Dim::Expression(Expression(Form::Product(factors, constant))),
        }
    }
}

impl<D: Into<Dim>> Add<D> for Dim {
    type Output = Dim;

    fn add(self, other: D) -> Dim {
        let ((mut terms, a), (more, b)) = (self.into_terms(), other.into().into_terms());
        terms.extend(more);
        Dim::sum(terms, a + b)
    }
}

impl Sub<usize> for Dim {
    type Output = Dim;

    fn sub(self, less: usize) -> Dim {
        let (terms, constant) = self.into_terms();
        Dim::sum(terms, constant - less as i64)
    }
}

impl<D: Into<Dim>> Mul<D> for Dim {
    type Output = Dim;

    fn mul(self, other: D) -> Dim {
        let ((mut factors, a), (more, b)) = (self.into_factors(), other.into().into_factors());
        factors.extend(more);
        Dim::product(factors, a.saturating_mul(b))
    }
}

impl From<usize> for Dim {
    fn from(extent: usize) -> Self {
        Dim::Fixed(extent)
    }
}

impl From<&'static str> for Dim {
    fn from(name: &'static str) -> Self {
        Dim::Symbol(name)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(extent) => write!(f, "{extent}"),
            Dim::Symbol(name) => f.write_str(name),
            Dim::Expression(Expression(form)) => write!(f, "{form}"),
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |parts: &[Dim], by: &str| parts.iter().map(in_brackets).collect::<Vec<_>>().join(by);
        match self {
            Form::Sum(terms, constant) if terms.is_empty() => write!(f, "{constant}"),
            Form::Sum(terms, constant) => {
                f.write_str(&joined(terms, " + "))?;
                match constant {
                    0 => Ok(()),
                    1.. => write!(f, " + {constant}"),
                    _ => write!(f, " - {}", constant.unsigned_abs()),
                }
            }
            Form::Product(factors, 1) => f.write_str(&joined(factors, " * ")),
            Form::Product(factors, constant) => write!(f, "{constant} * {}", joined(factors, " * ")),
            Form::Quotient(of, by) => write!(f, "ceil({} / {by})", in_brackets(of)),
        }
    }
}

/// A part of an expression: sums stand in brackets.
fn in_brackets(dim: &Dim) -> String {
    match dim {
        Dim::Expression(Expression(Form::Sum(..))) => format!("({dim})"),
        _ => dim.to_string(),
    }
}

/// Dimensions as messages show them.
pub(super) fn show_dims(shape: &[Dim]) -> String {
    let dims: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!("[{}]", dims.join(", "))
}

/// Extents for the symbolic dimensions of a graph.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bindings(BTreeMap<&'static str, usize>);

impl Bindings {
    /// Bindings from pairs such as `[("batch", 1), ("seq", 128)]`.
    pub fn new(pairs: impl IntoIterator<Item = (&'static str, usize)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// The extents of a shape.
    ///
    /// # Errors
    /// As [`Bindings::extent`], for the first dimension that has none.
    pub fn extents(&self, shape: &[Dim]) -> Result<Vec<usize>, DimError> {
        shape.iter().map(|dim| self.extent(dim)).collect()
    }

    /// The extent of `dim`.
    ///
    /// # Errors
    /// When a symbol is not bound, and when an expression gives what no dimension can have.
    pub fn extent(&self, dim: &Dim) -> Result<usize, DimError> {
        match dim {
            Dim::Fixed(extent) => Ok(*extent),
            Dim::Symbol(name) => self.symbol(name).ok_or(DimError::Unbound(name)),
            Dim::Expression(Expression(form)) => {
                let value = self.evaluate(form)?.and_then(|value| usize::try_from(value).ok());
                value.ok_or_else(|| DimError::OutOfRange(dim.to_string()))
            }
        }
    }

    /// The extent of one symbol, if it is bound.
    pub fn symbol(&self, name: &str) -> Option<usize> {
        self.0.get(name).copied()
    }

    /// The same, but for the extent of one symbol.
    pub fn with(&self, name: &'static str, extent: usize) -> Self {
        let mut bindings = self.clone();
        bindings.0.insert(name, extent);
        bindings
    }

    /// Binds a symbol; `false` when it is bound to another extent already.
    pub fn bind(&mut self, name: &'static str, extent: usize) -> bool {
        *self.0.entry(name).or_insert(extent) == extent
    }

    /// The value of an expression, which may be below 0; `None` where it is too large to be told.
    fn evaluate(&self, form: &Form) -> Result<Option<i64>, DimError> {
        let extents = |parts: &[Dim]| parts.iter().map(|part| self.extent(part)).collect::<Result<Vec<_>, _>>();
        let wide = |extent: usize| i64::try_from(extent).ok();
        Ok(match form {
            Form::Sum(terms, constant) => {
                extents(terms)?.into_iter().try_fold(*constant, |sum, term| sum.checked_add(wide(term)?))
            }
            Form::Product(factors, constant) => {
                extents(factors)?.into_iter().try_fold(wide(*constant), |all, factor| {
                    Ok(all.zip(wide(factor)).and_then(|(all, factor)| all.checked_mul(factor)))
                })?
            }
            Form::Quotient(of, by) => wide(self.extent(of)?.div_ceil(*by)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(name: &'static str) -> Dim {
        Dim::Symbol(name)
    }

    #[test]
    fn equal_expressions_compare_equal_and_constants_are_folded() {
        assert_eq!(symbol("past") + "seq", symbol("seq") + "past");
        assert_eq!(symbol("seq") + 3 + 4, symbol("seq") + 7);
        assert_eq!(symbol("seq") + 3 - 3, symbol("seq"));
        assert_eq!(symbol("a") * symbol("b") * 2, symbol("b") * 2 * "a");
        assert_eq!(Dim::Fixed(0) * "a", Dim::Fixed(0));
        assert_eq!(symbol("seq").div_ceil(1), symbol("seq"));
        assert_eq!((Dim::Fixed(224) + 1).div_ceil(16), Dim::Fixed(15));
        assert_ne!(symbol("seq").div_ceil(2), symbol("seq").div_ceil(3));
    }

    #[test]
    fn expressions_read_as_they_are_computed() {
        assert_eq!((symbol("past") + "seq").to_string(), "past + seq");
        assert_eq!(((symbol("frames") - 9).div_ceil(5) + 1).to_string(), "ceil((frames - 9) / 5) + 1");
        assert_eq!(((symbol("seq") + 1) * 2).to_string(), "2 * (seq + 1)");
        assert_eq!((symbol("seq").div_ceil(128) * 128).to_string(), "128 * ceil(seq / 128)");
        assert_eq!(show_dims(&[symbol("batch"), symbol("a") * "b", 3.into()]), "[batch, a * b, 3]");
    }

    #[test]
    fn extents_are_those_of_the_bindings() {
        let bindings = Bindings::new([("past", 5), ("seq", 3), ("frames", 3000)]);
        assert_eq!(bindings.extent(&(symbol("past") + "seq")), Ok(8));
        assert_eq!(bindings.extent(&symbol("frames").div_ceil(2)), Ok(1500));
        assert_eq!(bindings.extent(&(symbol("seq").div_ceil(128) * 128)), Ok(128));
        assert_eq!(bindings.extent(&(symbol("seq") * "past" * 2)), Ok(30));
        assert_eq!(bindings.extent(&(symbol("beams") + 1)), Err(DimError::Unbound("beams")));
    }

    #[test]
    fn what_no_dimension_can_have_is_an_error() {
        let bindings = Bindings::new([("frames", 4), ("large", usize::MAX)]);
        let short = (symbol("frames") - 9).div_ceil(5);
        assert_eq!(bindings.extent(&short), Err(DimError::OutOfRange("frames - 9".to_owned())));
        assert!(matches!(bindings.extent(&(symbol("large") * "large")), Err(DimError::OutOfRange(_))));
        assert!(matches!(bindings.extent(&(symbol("large") + 1)), Err(DimError::OutOfRange(_))));
        assert_eq!(bindings.extent(&(Dim::Fixed(2) - 3)), Err(DimError::OutOfRange("-1".to_owned())));
    }

    #[test]
    fn symbols_of_an_expression_are_found() {
        let mut found = Vec::new();
        ((symbol("past") + "seq").div_ceil(2) * "batch").symbols(&mut found);
        found.sort_unstable();
        assert_eq!(found, ["batch", "past", "seq"]);
    }
}
