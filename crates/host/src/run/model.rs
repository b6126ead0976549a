//! The model of a run: found, opened, and seen to fit the request.

use std::sync::Arc;

use webnibble_common::options::Platform;
use webnibble_common::result::{InputInfo, RunRecord};
use webnibble_models::input::text::TextError;

use super::auto;
use super::fill::input_info;
use super::prepared::resolve_for;
use super::request::{Input, RunRequest, tell};
use crate::error::HostError;
use crate::loader::{self, Model};
use crate::reference;
use crate::task::blocking;

/// Finds and opens the model, and sees that options and input fit it, before a browser is started for it. Away from the
/// runtime: a model may be fetched, and is read.
pub(super) async fn load_model(record: &mut RunRecord, request: &RunRequest) -> Result<Arc<Model>, HostError> {
    let (request, platform) = (request.clone(), record.platform);
    let (model, input) = blocking(move || {
        let mut progress = |at: loader::Progress<'_>| tell(&request, at.what, at.done, at.total);
        let model = Arc::new(Model::load(&request.model, &mut progress)?);
        match platform {
            Platform::Auto => auto::check_options(&request, &model)?,
            platform => drop(resolve_for(&request, &model, platform)?),
        }
        let input = fitting_input(&model, &request)?;
        Ok((model, input))
    })
    .await?;
    record.input = Some(input);
    Ok(model)
}

/// What the model takes of an input: the prompt, and how many tokens of each text.
fn fitting_input(model: &Model, request: &RunRequest) -> Result<InputInfo, HostError> {
    let RunRequest { input, outputs, .. } = request;
    let tokens_kept = reference::tokens_kept(model, input, outputs)?;
    Ok(InputInfo { prompt_name: prompt_name(model, input)?, ..input_info(input, &tokens_kept) })
}

/// Name of the prompt that is put before texts.
fn prompt_name(model: &Model, input: &Input) -> Result<Option<String>, HostError> {
    let Input::Text { prompt, .. } = input else { return Ok(None) };
    let prompt = prompt.of(model.sentence().map(|sentence| &sentence.prompts)).map_err(TextError::from)?;
    Ok(prompt.map(|prompt| prompt.name.to_owned()))
}
