//! Counts of a `config.json` held against the tensors that there are, before a graph is made of them.

use crate::error::ModelError;

/// Shape of a tensor by its name; `None` where there is none.
pub(crate) type ShapeOf<'a> = &'a dyn Fn(&str) -> Option<Vec<usize>>;

/// An extent of a tensor, and the field that says how large it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    /// Name of the field.
    pub(crate) field: &'static str,
    /// Its value.
    pub(crate) found: usize,
    /// The extent that it comes to.
    pub(crate) extent: usize,
}

impl Count {
    /// A field that is the extent.
    pub(crate) fn of(field: &'static str, found: usize) -> Self {
        Self { field, found, extent: found }
    }
}

/// Checks that a matrix is there, with the extents that the config says.
pub(crate) fn check_matrix(shape_of: ShapeOf<'_>, tensor: &str, counts: [Count; 2]) -> Result<(), ModelError> {
    let expected = counts.map(|count| count.extent);
    let shape = shape_of(tensor).ok_or(ModelError::MissingTensor { tensor: tensor.to_owned(), expected })?;
    for (axis, Count { field, found, extent }) in counts.into_iter().enumerate() {
        if shape.get(axis) != Some(&extent) {
            let holds = format!("tensor `{tensor}` has shape {shape:?}");
            return Err(ModelError::Count { field, found, holds });
        }
    }
    Ok(())
}

/// Checks that there are so many layers, `is_there` saying whether a layer is. A shallower model takes the first ones.
pub(crate) fn check_layers(layers: usize, is_there: impl Fn(&usize) -> bool) -> Result<(), ModelError> {
    match (0..layers).take_while(is_there).count() {
        all if all == layers => Ok(()),
        held => Err(ModelError::Count {
            field: "num_hidden_layers",
            found: layers,
            holds: format!("there are tensors for {held}"),
        }),
    }
}
