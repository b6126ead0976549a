//! Models on this machine's processor: in f32, what `quantization_error` is measured against, or as a package has them,
//! what a simulation without a browser runs.

use std::sync::Arc;

use webnibble_common::graph::Graph;
use webnibble_common::io::{Input, NamedTensors};
use webnibble_common::options::GenerationOptions;
use webnibble_common::package::{Activations, SentenceConfig, TOKENIZER};
use webnibble_common::quant::{Bits, Quantizer};
use webnibble_common::record::QuantizationError;
use webnibble_common::tensor::{Tensor, element_count};
use webnibble_common::weights::{WeightData, WeightMap};
use webnibble_common::wire::ErrorCode;
use webnibble_kernels::cpu;
use webnibble_kernels::exec::{ExecError, Int8Linears, check_inputs};
use webnibble_models::generate::{GenerateError, Generation, GenerationConfig, prompt_ids};
use webnibble_models::input::text::TextError;
use webnibble_models::input::{InputError, ModelInputs};
use webnibble_models::output::OutputError;
use webnibble_models::{ModelError, Pipeline};

use crate::error::Failure;
use crate::loader::{LoadError, Model, ModelFolder, PackageFile};
use crate::task::blocking;

/// Most bytes that a model's weights take in f32 for which an answer is compared with f32 unasked: 2 GiB, or about 500
/// million weights. BERT-large has 1.3 GB.
pub const CHEAP_F32_BYTES: u64 = 2 << 30;

/// A model that is ready to run here.
pub struct Reference {
    pipeline: Pipeline,
    /// The program as far as its answer needs it.
    answer: Graph,
    weights: WeightMap,
    /// Linear operators that are computed in int8.
    int8: Option<Int8Linears>,
}

/// Why there is no reference output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The model cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The tokenizer cannot be read.
    #[error(transparent)]
    Tokenizer(#[from] TextError),
    /// The input does not fit the model.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The model has no such output.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The model says of itself what makes no sense.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model does not go on from it.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// The model does not run.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

impl Failure for ReferenceError {
    fn code(&self) -> String {
        match self {
            Self::Tokenizer(error) => error.code(),
            Self::Input(error) => error.code(),
            Self::Output(error) => error.code(),
            Self::Generate(GenerateError::Option { .. }) => "bad_options".into(),
            Self::Generate(_) => ErrorCode::BadInput.name(),
            Self::Exec(error) if error.is_bad_input() => ErrorCode::BadInput.name(),
            _ => "reference".into(),
        }
    }

    fn hint(&self) -> String {
        match self {
            Self::Load(error) => error.hint(),
            Self::Tokenizer(error) => error.hint(),
            Self::Input(error) => error.hint(),
            Self::Output(error) => error.hint(),
            Self::Generate(GenerateError::NotGenerating) => {
                "take a model that generates text, such as a LLaMA, or give --text".into()
            }
            Self::Generate(GenerateError::Rows { .. }) => "give one --prompt, or --ids with one row".into(),
            Self::Generate(_) => "`webnibble run --help` shows the options of text".into(),
            _ => "`webnibble inspect` shows what the model is; --ids and --input must fit it".into(),
        }
    }
}

impl Reference {
    /// Reads the model's weights in f32. `None` for a package: it holds quantized weights only.
    ///
    /// # Errors
    /// When the folder's files cannot be read.
    pub fn of(model: &Model) -> Result<Option<Self>, ReferenceError> {
        match model {
            Model::Folder(folder) => Self::of_folder(folder).map(Some),
            Model::Package(_) | Model::Onnx(_) => Ok(None),
        }
    }

    /// A folder's model in f32.
    ///
    /// # Errors
    /// When the folder's files cannot be read.
    pub fn of_folder(folder: &ModelFolder) -> Result<Self, ReferenceError> {
        Ok(Self::new(pipeline_of_folder(folder, true)?, weights_in_f32(folder)?))
    }
    fn new(pipeline: Pipeline, weights: WeightMap) -> Self {
        Self { answer: pipeline.graph().answer(), pipeline, weights, int8: None }
    }

    /// A package's model with its quantized weights.
    ///
    /// # Errors
    /// When the package cannot be read.
    pub fn quantized(package: &PackageFile) -> Result<Self, ReferenceError> {
        Ok(Self::new(pipeline_of_package(package, true)?, package.read_weights()?))
    }

    /// A package's model as it is to be run with activations of these bits: in int8 at 8, where it was calibrated.
    ///
    /// # Errors
    /// When the package cannot be read, or its activations do not go with its weights.
    pub fn with_activation_bits(package: &PackageFile, bits: Bits) -> Result<Self, ReferenceError> {
        Self::quantized(package)?.with_bits(package, bits)
    }

    /// The same for tensors alone, without a tokenizer.
    ///
    /// # Errors
    /// As [`Reference::with_activation_bits`].
    pub(crate) fn for_tensors(package: &PackageFile, bits: Bits) -> Result<Self, ReferenceError> {
        Self::new(pipeline_of_package(package, false)?, package.read_weights()?).with_bits(package, bits)
    }

    fn with_bits(self, package: &PackageFile, bits: Bits) -> Result<Self, ReferenceError> {
        match &package.header.meta.activations {
            Some(activations) if bits == Bits::B8 => self.with_activations(activations),
            _ => Ok(self),
        }
    }

    /// The same model with other weights, in floats.
    pub fn with_weights(self, weights: WeightMap) -> Self {
        Self { weights, int8: None, ..self }
    }

    /// The same model with the linear operators of `activations` in int8, as int8 kernels compute them.
    ///
    /// # Errors
    /// When the weights are not those of int8 operators.
    pub fn with_activations(self, activations: &Activations) -> Result<Self, ReferenceError> {
        let int8 = Int8Linears::new(self.pipeline.graph(), &self.weights, activations)?;
        Ok(Self { int8: Some(int8), ..self })
    }

    /// Takes a linear operator back to floats, by the name of its weight.
    pub(crate) fn leave_in_floats(&mut self, name: &str) {
        if let Some(int8) = &mut self.int8 {
            int8.remove(name);
        }
    }

    /// The weights, by name.
    pub(crate) fn weights(&self) -> &WeightMap {
        &self.weights
    }

    /// Bytes of the weights as they are held.
    pub fn weights_bytes(&self) -> u64 {
        self.weights.values().map(WeightData::bytes).sum()
    }

    /// What the model's answer is made of, for an input. Takes its time: not for a task of the runtime.
    ///
    /// # Errors
    /// When the input does not fit the model.
    pub fn outputs(&self, input: &Input) -> Result<NamedTensors, ReferenceError> {
        self.outputs_named(input, &[])
    }

    /// The outputs of those names, for an input; where none is named, as [`Reference::outputs`].
    ///
    /// # Errors
    /// When the input does not fit the model, or it has no such output.
    pub fn outputs_named(&self, input: &Input, names: &[String]) -> Result<NamedTensors, ReferenceError> {
        self.outputs_of(&self.inputs(input)?.tensors, names)
    }

    /// An input as the tensors that the model takes.
    ///
    /// # Errors
    /// When the input does not fit the model.
    pub fn inputs(&self, input: &Input) -> Result<ModelInputs, ReferenceError> {
        Ok(self.pipeline.inputs(input)?)
    }

    /// The same for what [`Reference::inputs`] gave.
    ///
    /// # Errors
    /// When the inputs do not fit the model, or it has no such output.
    pub fn outputs_of(&self, inputs: &[(String, Tensor)], names: &[String]) -> Result<NamedTensors, ReferenceError> {
        if names.is_empty() {
            return Ok(self.executor(&self.answer, inputs)?.outputs()?);
        }
        let graph = self.pipeline.graph().only(&self.pipeline.wanted(names)?);
        Ok(self.executor(&graph, inputs)?.outputs()?)
    }

    /// What the answer is made of, and what every linear operator of the program sees, those too that it does not need.
    ///
    /// # Errors
    /// When the inputs do not fit the model.
    pub(crate) fn outputs_observed(
        &self,
        inputs: &[(String, Tensor)],
        observe: &mut dyn FnMut(cpu::Observed<'_>),
    ) -> Result<NamedTensors, ReferenceError> {
        let mut executor = self.executor(self.pipeline.graph(), inputs)?;
        while executor.step_observed(observe)? {}
        let mut outputs = executor.outputs()?;
        outputs.truncate(self.answer.outputs.len());
        Ok(outputs)
    }

    fn executor<'a>(
        &'a self,
        graph: &'a Graph,
        inputs: &'a [(String, Tensor)],
    ) -> Result<cpu::Executor<'a>, ExecError> {
        let executor = cpu::Executor::new(graph, &self.weights, inputs)?;
        Ok(match &self.int8 {
            Some(int8) => executor.with_activations(int8),
            None => executor,
        })
    }
}

/// A folder's weights as they are run in f32.
fn weights_in_f32(folder: &ModelFolder) -> Result<WeightMap, ReferenceError> {
    let mut weights = WeightMap::new();
    for weight in &folder.graph.weights {
        let values = folder.read(weight)?;
        let data = match weight.shape.len() {
            1 => WeightData::Vector(values),
            _ => {
                let matrix = Quantizer::new(Bits::B32).quantize(&values, &weight.shape);
                WeightData::Matrix(matrix.expect("the loader checked the shape, and 32 bits take any value"))
            }
        };
        weights.insert(weight.name.clone(), data);
    }
    Ok(weights)
}

/// What surrounds a model's program, before anything runs. The tokenizer, which takes its time, is made where `texts` are to be
/// encoded.
///
/// # Errors
/// When its tokenizer cannot be read.
fn pipeline_of(model: &Model, texts: bool) -> Result<Pipeline, ReferenceError> {
    match model {
        Model::Folder(folder) => pipeline_of_folder(folder, texts),
        Model::Package(package) => pipeline_of_package(package, texts),
        Model::Onnx(onnx) => {
            let tokenizer = onnx.tokenizer.as_deref().filter(|_| texts);
            let made = pipeline(&onnx.graph, onnx.max_tokens(), onnx.sentence.clone(), tokenizer)?;
            Ok(made.with_config(&onnx.config, None)?)
        }
    }
}

/// An input as the tensors that a model takes: sees that it fits, in every way that can be seen before it runs.
///
/// # Errors
/// When the input does not fit the model, or it has no output of these names.
pub(crate) fn inputs_of(model: &Model, input: &Input, names: &[String]) -> Result<ModelInputs, ReferenceError> {
    let pipeline = pipeline_of(model, needs_tokenizer(input))?;
    pipeline.wanted(names)?;
    let inputs = pipeline.inputs(input)?;
    check_inputs(pipeline.graph(), &inputs.tensors)?;
    Ok(inputs)
}

/// A prompt as the tensors that a model takes: sees that it goes on from it, in every way that can be seen before it runs.
///
/// # Errors
/// When the model does not generate, the input does not fit it or is more than one, and for options that make no sense.
pub(crate) fn prompt_of(
    model: &Model,
    input: &Input,
    options: &GenerationOptions,
) -> Result<ModelInputs, ReferenceError> {
    let (config, config_json, own) = match model {
        Model::Folder(folder) => (&folder.config, &folder.config_json, &folder.generation_config),
        Model::Package(package) => {
            let meta = &package.header.meta;
            (&package.config, &meta.config, &meta.generation_config)
        }
        Model::Onnx(_) => return Err(GenerateError::NotGenerating.into()),
    };
    if !config.generates() {
        return Err(GenerateError::NotGenerating.into());
    }
    let pipeline = pipeline_of(model, needs_tokenizer(input) || options.stop.is_some())?;
    let inputs = pipeline.inputs(input)?;
    check_inputs(pipeline.graph(), &inputs.tensors)?;
    let config = GenerationConfig::from_json(config_json, own.as_ref())?;
    Generation::new(&config, options, prompt_ids(&inputs.tensors)?, &pipeline)?;
    Ok(inputs)
}

/// Ids stand for themselves, but what shorter rows are padded with is the tokenizer's to say.
fn needs_tokenizer(input: &Input) -> bool {
    match input {
        Input::Text { .. } => true,
        Input::Ids { ids, .. } => ids.windows(2).any(|pair| pair[0].len() != pair[1].len()),
        Input::Image { .. } | Input::Tensors { .. } => false,
    }
}

fn pipeline_of_folder(folder: &ModelFolder, texts: bool) -> Result<Pipeline, ReferenceError> {
    let tokenizer = folder.tokenizer.as_deref().filter(|_| texts);
    let made = pipeline(&folder.graph, folder.max_tokens(), folder.sentence.clone(), tokenizer)?;
    Ok(made.with_config(&folder.config, folder.preprocessor_config.as_ref())?)
}

fn pipeline_of_package(package: &PackageFile, texts: bool) -> Result<Pipeline, ReferenceError> {
    let meta = &package.header.meta;
    let tokenizer = if texts { package.read_extra(TOKENIZER)? } else { None };
    let made = pipeline(&package.graph, package.max_tokens(), meta.sentence.clone(), tokenizer.as_deref())?;
    Ok(made.with_config(&package.config, meta.preprocessor_config.as_ref())?)
}

fn pipeline(
    graph: &Graph,
    max_len: usize,
    sentence: Option<SentenceConfig>,
    tokenizer: Option<&[u8]>,
) -> Result<Pipeline, ReferenceError> {
    let pipeline = Pipeline::new(graph.clone(), max_len, sentence);
    match tokenizer {
        Some(bytes) => Ok(pipeline.with_tokenizer(bytes)?),
        None => Ok(pipeline),
    }
}

/// What a model answers in f32, or why nobody computed that.
#[derive(Debug)]
pub(crate) enum InF32 {
    /// The graph's outputs.
    Outputs(NamedTensors),
    /// The weights would take more than is spent unasked.
    TooLarge {
        /// Bytes of the weights in f32.
        bytes: u64,
    },
    /// There are no weights in floats, or it failed.
    Nothing,
}

/// How far an answer is from that in f32.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Compared {
    /// `None` where it was not compared.
    pub(crate) error: Option<QuantizationError>,
    /// Why it was not, where that was decided and not a lack.
    pub(crate) reason: Option<String>,
}

impl InF32 {
    /// Compares outputs with it.
    pub(crate) fn compared(&self, outputs: &[(String, Tensor)]) -> Compared {
        match self {
            Self::Outputs(expected) => Compared { error: quantization_error(outputs, expected), reason: None },
            Self::TooLarge { bytes } => {
                let giga = |bytes: u64| bytes as f64 / 1e9;
                let (found, limit) = (giga(*bytes), giga(CHEAP_F32_BYTES));
                let reason = format!(
                    "the model takes {found:.1} GB in f32, and without --compare-f32 at most {limit:.1} GB are taken for it"
                );
                Compared { error: None, reason: Some(reason) }
            }
            Self::Nothing => Compared::default(),
        }
    }
}

/// Bytes of a model's weights in f32.
fn f32_bytes(graph: &Graph) -> u64 {
    graph.weights.iter().map(|weight| element_count(&weight.shape) as u64 * 4).sum()
}

/// What of a model in f32 is wanted.
#[derive(Clone, Copy)]
pub(crate) struct WantedInF32<'a> {
    /// The input, by the names of the program's inputs.
    pub(crate) tensors: &'a Arc<NamedTensors>,
    /// Outputs by name; none for what the answer is made of.
    pub(crate) outputs: &'a [String],
    /// Whether somebody asked for it, however much memory it takes.
    pub(crate) asked: bool,
}

/// What a model answers in f32, where that is cheap or asked for.
pub(crate) async fn in_f32(model: &Arc<Model>, wanted: WantedInF32<'_>) -> InF32 {
    let Model::Folder(folder) = &**model else { return InF32::Nothing };
    let bytes = f32_bytes(&folder.graph);
    if bytes > CHEAP_F32_BYTES && !wanted.asked {
        return InF32::TooLarge { bytes };
    }
    let (model, tensors, names) = (Arc::clone(model), Arc::clone(wanted.tensors), wanted.outputs.to_vec());
    let computed = blocking(move || {
        let Model::Folder(folder) = &*model else { return Ok(InF32::Nothing) };
        let reference = Reference::new(pipeline_of_folder(folder, false)?, weights_in_f32(folder)?);
        Ok(InF32::Outputs(reference.outputs_of(&tensors, &names)?))
    });
    computed.await.unwrap_or_else(|error| {
        tracing::warn!("no comparison with f32: {error}");
        InF32::Nothing
    })
}

/// Compares outputs with the model in f32, where its weights are at hand and that is cheap or asked for.
pub(crate) async fn compare(model: &Arc<Model>, wanted: WantedInF32<'_>, outputs: &[(String, Tensor)]) -> Compared {
    in_f32(model, wanted).await.compared(outputs)
}

/// How far `outputs` are from `reference`: over all elements, and for the cosine over rows (an item's embedding, or a
/// token's hidden state). `None` where names, shapes or types differ, or there is nothing to compare.
pub fn quantization_error(outputs: &[(String, Tensor)], reference: &[(String, Tensor)]) -> Option<QuantizationError> {
    let mut sums = Sums::default();
    for (name, expected) in reference {
        let found = &outputs.iter().find(|(other, _)| other == name)?.1;
        if found.shape() != expected.shape() {
            return None;
        }
        let width = *expected.shape().last()?;
        let (found, expected) = (found.as_f32().ok()?, expected.as_f32().ok()?);
        let rows = found.chunks(width.max(1)).zip(expected.chunks(width.max(1)));
        rows.for_each(|(found, expected)| sums.add_row(found, expected));
    }
    (sums.elements > 0).then(|| QuantizationError {
        mean_abs: sums.absolute / sums.elements as f64,
        rmse: (sums.squared / sums.elements as f64).sqrt(),
        cosine: sums.cosine / sums.rows as f64,
    })
}

#[derive(Default)]
struct Sums {
    absolute: f64,
    squared: f64,
    elements: usize,
    cosine: f64,
    rows: usize,
}

impl Sums {
    fn add_row(&mut self, found: &[f32], expected: &[f32]) {
        for (found, expected) in found.iter().zip(expected) {
            let difference = f64::from(*found) - f64::from(*expected);
            self.absolute += difference.abs();
            self.squared += difference * difference;
        }
        self.elements += expected.len();
        self.cosine += cosine(found, expected);
        self.rows += 1;
    }
}

/// Cosine of the angle between two vectors; 0 where one of them is zero, and 1 where both are.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 {
        dot(a, b) / norms
    } else if a == b {
        1.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32], shape: &[usize]) -> Vec<(String, Tensor)> {
        vec![("out".to_owned(), Tensor::f32(shape, values.to_vec()).unwrap())]
    }

    #[test]
    fn errors_are_over_elements_and_the_cosine_over_rows() {
        let reference = tensor(&[1.0, 0.0, 0.0, 2.0], &[2, 2]);
        let outputs = tensor(&[1.0, 0.0, 2.0, 0.0], &[2, 2]);
        let error = quantization_error(&outputs, &reference).unwrap();
        assert_eq!((error.mean_abs, error.rmse, error.cosine), (1.0, 2f64.sqrt(), 0.5));
        let same = quantization_error(&reference, &reference).unwrap();
        assert_eq!((same.mean_abs, same.rmse, same.cosine), (0.0, 0.0, 1.0));
    }

    #[test]
    fn what_cannot_be_compared_has_no_error() {
        let reference = tensor(&[1.0, 2.0], &[1, 2]);
        assert!(quantization_error(&tensor(&[1.0, 2.0], &[2, 1]), &reference).is_none());
        assert!(quantization_error(&[], &reference).is_none());
        assert!(quantization_error(&[], &[]).is_none());
    }

    #[test]
    fn ids_need_a_tokenizer_only_to_be_padded() {
        let ids = |lengths: &[usize]| Input::ids(lengths.iter().map(|length| vec![1; *length]).collect());
        assert!(!needs_tokenizer(&ids(&[])) && !needs_tokenizer(&ids(&[3])) && !needs_tokenizer(&ids(&[2, 2])));
        assert!(needs_tokenizer(&ids(&[2, 2, 3])) && needs_tokenizer(&Input::texts(vec!["a".into()])));
    }

    #[test]
    fn a_model_that_is_too_large_is_not_compared_and_says_so() {
        let compared = InF32::TooLarge { bytes: 32_000_000_000 }.compared(&tensor(&[1.0], &[1, 1]));
        assert_eq!(compared.error, None);
        let reason = compared.reason.unwrap();
        assert!(
            reason.contains("32.0 GB") && reason.contains("2.1 GB") && reason.contains("--compare-f32"),
            "{reason}"
        );
        assert_eq!(InF32::Nothing.compared(&[]), Compared::default());
    }

    #[test]
    fn cosine_of_zero_vectors() {
        assert_eq!(cosine(&[0.0], &[0.0]), 1.0);
        assert_eq!(cosine(&[0.0], &[1.0]), 0.0);
        assert_eq!(cosine(&[1.0, 1.0], &[-2.0, -2.0]), -1.0);
    }
}
