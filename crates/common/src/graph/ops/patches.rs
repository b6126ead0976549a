//! Patches: images cut into squares, each a row.

use crate::graph::dim::Dim;
use crate::graph::error::GraphError;
use crate::graph::operator::{Checker, Operator, Read, Rows, Shapes};
use crate::graph::value::ValueId;
use crate::tensor::DType;

/// The squares of images, from left to right and top to bottom: f32 `[batch, channels, height, width]` gives
/// `[batch, height / size · width / size, channels · size · size]`, a row's columns in the order of a convolution's weight:
/// channel, line, column.
///
/// Squares that do not overlap make a convolution a linear operator over them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Patches {
    /// The images, of which all but their number is known.
    pub x: ValueId,
    /// Pixels of a side.
    pub size: usize,
}

impl Patches {
    /// Channels, height and width of an image; zeros where they are not known, which the check refuses.
    pub fn extents(shape: &[Dim]) -> [usize; 3] {
        let extent = |axis: usize| match shape.get(axis) {
            Some(Dim::Fixed(extent)) => *extent,
            _ => 0,
        };
        [1, 2, 3].map(extent)
    }
}

impl Operator for Patches {
    fn name(&self) -> &'static str {
        "patches"
    }

    fn reads(&self) -> Vec<Read> {
        vec![Rows::All.of(self.x)]
    }

    fn shape(&self, shapes: &Shapes<'_>) -> Vec<Dim> {
        let images = &shapes.value(self.x).shape;
        let ([channels, height, width], size) = (Self::extents(images), self.size.max(1));
        vec![images[0].clone(), Dim::Fixed(height / size * (width / size)), Dim::Fixed(channels * size * size)]
    }

    fn check(&self, check: &Checker<'_>) -> Result<(), GraphError> {
        check.value("x", self.x, DType::F32, 4)?;
        let [channels, height, width] = Self::extents(check.dims(self.x));
        check.expect("size", self.size > 0, || "at least one pixel".into(), || "none".into())?;
        let whole = |extent: usize| extent > 0 && extent.is_multiple_of(self.size);
        let expected = || format!("channels, and sides that are multiples of {}", self.size);
        let fits = channels > 0 && whole(height) && whole(width);
        check.expect("x", fits, expected, || format!("{channels} channels of {height} × {width}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;

    fn refused(shape: [Dim; 4], size: usize) -> String {
        let mut graph = Graph::default();
        let x = graph.input("x", DType::F32, shape);
        let y = graph.push("y", Patches { x, size });
        graph.output(y);
        graph.validate().err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn squares_fill_the_image() {
        assert_eq!(refused(["batch".into(), 3.into(), 8.into(), 12.into()], 4), "");
        let error = refused(["batch".into(), 3.into(), 8.into(), 10.into()], 4);
        let expected =
            "patches `y`: x should be channels, and sides that are multiples of 4, found 3 channels of 8 × 10";
        assert_eq!(error, expected);
        let error = refused(["batch".into(), 3.into(), "height".into(), 8.into()], 4);
        assert!(error.ends_with("found 3 channels of 0 × 8"), "{error}");
        assert_eq!(
            refused([1, 1, 4, 4].map(Dim::Fixed), 0),
            "patches `y`: size should be at least one pixel, found none"
        );
    }
}
