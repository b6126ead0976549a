//! Answers beside those of the same model in f32.

use std::sync::Arc;

use webnibble_common::result::QuantizationError;
use webnibble_common::tensor::Tensor;

use super::prepared::PreparedModel;
use super::request::RunRequest;
use crate::loader::Model;
use crate::reference::{self, Reference};
use crate::task::blocking;

/// Compares with the model in f32, where its weights are at hand. A reference that fails leaves the figure null.
pub(super) async fn compare(
    prepared: &PreparedModel,
    request: &RunRequest,
    outputs: &[(String, Tensor)],
) -> Option<QuantizationError> {
    reference::quantization_error(outputs, &answer_in_f32(&prepared.model, request).await?)
}

/// The outputs that a request reads, in f32.
pub(super) async fn answer_in_f32(model: &Arc<Model>, request: &RunRequest) -> Option<Vec<(String, Tensor)>> {
    let (model, input, names) = (Arc::clone(model), request.input.clone(), request.outputs.clone());
    let computed = blocking(move || {
        let Some(reference) = Reference::of(&model)? else { return Ok(None) };
        Ok(Some(reference.outputs_named(&input, &names)?))
    });
    computed.await.unwrap_or_else(|error| {
        tracing::warn!("no comparison with f32: {error}");
        None
    })
}
