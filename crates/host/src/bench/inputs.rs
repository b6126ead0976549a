//! Inputs that are made up for a model.

use webnibble_common::io::Input;

use super::cells::Size;
use crate::error::HostError;
use crate::loader::Model;
use crate::task::blocking;
use crate::versus::{ids, vocabulary};

/// What inputs of a model are made of, or why it cannot be read.
pub(super) struct Inputs {
    /// Its name, or what was typed.
    pub(super) name: String,
    /// Number of ids, or why there is none.
    pub(super) vocabulary: Result<usize, HostError>,
}

impl Inputs {
    pub(super) async fn of(model: String) -> Self {
        let typed = model.trim_end_matches('/').rsplit('/').next().unwrap_or(&model).to_owned();
        let read = blocking(move || {
            let model = Model::load(&model, &mut |_| {})?;
            Ok((model.name().to_owned(), vocabulary(&model)))
        });
        match read.await {
            Ok((name, vocabulary)) => Self { name, vocabulary: Ok(vocabulary) },
            Err(error) => Self { name: typed, vocabulary: Err(error) },
        }
    }

    /// Ids of that size, all in the vocabulary, and different from text to text.
    pub(super) fn ids(&self, size: Size) -> Input {
        let vocabulary = *self.vocabulary.as_ref().unwrap_or(&1);
        let ids = ids(vocabulary, size.batch * size.tokens);
        Input::ids(ids.chunks(size.tokens.max(1)).map(<[u32]>::to_vec).collect())
    }
}
