//! Inferences in flight: dispatched, and yet to be read.

use std::ops::Range;
use std::rc::Rc;

use webnibble_common::tensor::{Tensor, element_count};
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_kernels::webnn::Port;

use super::super::outcome::RunOutcome;
use super::executable::{Asked, Executable, columns};
use crate::error::error;
use crate::finite::check_finite;

/// A value of the graph that an inference makes.
pub(super) struct Made {
    /// Its name.
    pub(super) name: String,
    /// The shape that it is cut back to from the bucket's.
    pub(super) shape: Vec<usize>,
    /// Whether it is to be read.
    pub(super) wanted: bool,
}

/// An inference that the context has been given.
pub(crate) struct Pending {
    executable: Rc<Executable>,
    outputs: Vec<Made>,
    /// What was asked for: an output that is read, or a part of it, by its place among the executable's.
    parts: Vec<(usize, Asked)>,
    /// Of outputs that are not read, or of parts of them, whether they are finite.
    finite: Vec<(usize, Asked)>,
}

impl Pending {
    /// Writes inputs, dispatches the graphs, and asks for the outputs that are wanted, and whether the others are finite.
    pub(super) async fn submit(
        executable: &Rc<Executable>,
        inputs: &[(String, Tensor)],
        outputs: Vec<Made>,
    ) -> Result<Self, RemoteError> {
        let wanted = |port: &Port| outputs.iter().any(|made| made.wanted && made.name == port.value);
        for output in executable.outputs().iter().filter(|output| !wanted(&output.port)) {
            executable.make_check(output).await?;
        }
        executable.begin(inputs)?;
        let (mut parts, mut finite) = (Vec::new(), Vec::new());
        for (index, output) in executable.outputs().iter().enumerate() {
            if wanted(&output.port) {
                parts.push((index, executable.ask(output)?));
            } else {
                finite.extend(executable.ask_finite(output)?.map(|asked| (index, asked)));
            }
        }
        Ok(Self { executable: Rc::clone(executable), outputs, parts, finite })
    }

    /// Waits until the inference is done, and copies what was wanted of it.
    ///
    /// # Errors
    /// What the context says, and `not_finite` for the first output that has a NaN or an infinity, read or not.
    pub(crate) async fn read(self) -> Result<RunOutcome, RemoteError> {
        let asked = self.parts.iter().chain(&self.finite).map(|(_, asked)| asked);
        self.executable.wait_for(asked).await?;
        self.check_unread()?;
        let outputs: Vec<_> = self.outputs.iter().filter(|made| made.wanted).map(|made| self.tensor(made)).collect();
        check_finite(&outputs)?;
        Ok(RunOutcome { outputs, token: None, gpu_ms: None, kernels: None })
    }

    /// Fails where an output that is not read has what is no number. Where in it that is, only a read would tell.
    fn check_unread(&self) -> Result<(), RemoteError> {
        let is_finite = |asked: &Asked| asked.bytes.to_vec().iter().all(|byte| byte & 0x7f == 0);
        let Some((index, _)) = self.finite.iter().find(|(_, asked)| !is_finite(asked)) else { return Ok(()) };
        let port = &self.executable.outputs()[*index].port;
        let message = format!("output `{}` should be finite numbers, found some that are not", port.value);
        Err(error(ErrorCode::NotFinite, message, "use more bits; ask for this output to see where they are"))
    }

    /// An output, put together of its parts and cut back from the bucket's shape.
    fn tensor(&self, made: &Made) -> (String, Tensor) {
        let parts = self.parts.iter().map(|(index, asked)| (&self.executable.outputs()[*index].port, asked));
        let parts: Vec<_> = parts.filter(|(port, _)| port.value == made.name).collect();
        let dtype = parts.first().map_or(webnibble_common::tensor::DType::F32, |(port, _)| port.dtype);
        let mut tensor = Tensor::zeros(dtype, made.shape.clone());
        parts.into_iter().for_each(|(port, asked)| copy_part(port, asked, &made.shape, tensor.bytes_mut()));
        (made.name.clone(), tensor)
    }
}

/// Copies what was read of a part to its place in the whole value, whose bucket is cut back to `shape`.
fn copy_part(port: &Port, asked: &Asked, shape: &[usize], value: &mut [u8]) {
    let size = port.dtype.size_bytes();
    let part = port.offset..port.offset + element_count(&port.shape);
    for (from, to) in shared_ranges(part, columns(&port.value_shape), columns(shape)) {
        let (from, to) = (from.start * size..from.end * size, to.start * size..to.end * size);
        asked.bytes.subarray(from.start as u32, from.end as u32).copy_to(&mut value[to]);
    }
}

/// A matrix of rows of `from_cols` elements is cut to rows of `to_cols`, and `part` is a range of its elements. Gives, for each
/// row that both have something of, where that lies in the part and in what is cut.
fn shared_ranges(
    part: Range<usize>,
    from_cols: usize,
    to_cols: usize,
) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let rows = part.start / from_cols..part.end.div_ceil(from_cols);
    rows.filter_map(move |row| {
        let (begin, cut) = (row * from_cols, row * to_cols);
        let (start, end) = (part.start.max(begin), part.end.min(begin + to_cols.min(from_cols)));
        (start < end).then(|| (start - part.start..end - part.start, cut + start - begin..cut + end - begin))
    })
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test]
    fn parts_of_a_value_are_cut_row_by_row() {
        let found = |part, from, to| shared_ranges(part, from, to).collect::<Vec<_>>();
        assert_eq!(found(0..12, 12, 12), [(0..12, 0..12)]);
        assert_eq!(found(4..12, 12, 12), [(0..8, 4..12)]);
        assert_eq!(found(0..12, 4, 3), [(0..3, 0..3), (4..7, 3..6), (8..11, 6..9)]);
        // The second of two parts, which begins within a row.
        assert_eq!(found(6..12, 4, 3), [(0..1, 5..6), (2..5, 6..9)]);
        // Nothing of a part is kept.
        assert_eq!(found(8..12, 12, 8), []);
    }
}
