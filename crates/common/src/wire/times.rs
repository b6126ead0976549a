//! Measured times of a `ran`: those of a few runs stand in its text, those of many travel as tensors behind its outputs,
//! since a text frame has a limit.

use super::run::RunReport;
use crate::error::{ErrorCode, RemoteError};
use crate::io::TensorInfo;
use crate::tensor::Tensor;

/// Most measured runs whose times stand in the text.
pub const MOST_TIMES_IN_TEXT: usize = 10_000;

const RUN_MS: &str = "run_ms";
const GPU_MS: &str = "gpu_ms";

/// Takes the times of many runs out of a report: a tensor of milliseconds in f32 for each list, with what describes it. f32
/// has 24 bits, and clocks of browsers have fewer.
pub fn take_times(report: &mut RunReport) -> (Vec<TensorInfo>, Vec<Tensor>) {
    if report.run_ms.len() <= MOST_TIMES_IN_TEXT {
        return Default::default();
    }
    let lists = [(RUN_MS, Some(std::mem::take(&mut report.run_ms))), (GPU_MS, report.gpu_ms.take())];
    let tensor_of = |(name, list): (&str, Option<Vec<f64>>)| {
        let values: Vec<f32> = list?.into_iter().map(|ms| ms as f32).collect();
        let tensor = Tensor::f32([values.len()], values).expect("one value for each element");
        let info = TensorInfo::of(name, &tensor);
        Some((info, tensor))
    };
    lists.into_iter().filter_map(tensor_of).unzip()
}

/// Puts times that travelled as tensors back into their report.
///
/// # Errors
/// For lists that a report does not have, or of another type.
pub fn put_times(report: &mut RunReport, infos: &[TensorInfo], tensors: &[Tensor]) -> Result<(), RemoteError> {
    for (info, tensor) in infos.iter().zip(tensors) {
        let wrong = |what: String| RemoteError::new(ErrorCode::Protocol, format!("times `{}`: {what}", info.name), "");
        let values = tensor.as_f32().map_err(|error| wrong(error.to_string()))?;
        let list = values.iter().map(|ms| f64::from(*ms)).collect();
        match info.name.as_str() {
            RUN_MS => report.run_ms = list,
            GPU_MS => report.gpu_ms = Some(list),
            _ => return Err(wrong(format!("expected {RUN_MS} or {GPU_MS}"))),
        }
    }
    Ok(())
}
