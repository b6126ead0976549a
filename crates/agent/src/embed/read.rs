//! What JavaScript gave. Any value may come, and reading one may throw: whatever is not as expected is an error that
//! says what was expected and what was found.

use js_sys::{Float32Array, Function, JSON, Reflect, Uint8Array, Uint8ClampedArray, Uint32Array};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, Url};
use webnibble_common::io::{Input, NamedTensors, tensor_from_json};
use webnibble_common::options::camel_case;
use webnibble_common::prompt::PromptChoice;
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{ErrorCode, RemoteError};

use super::sys;
use crate::error::{describe, error};

const INPUT_HINT: &str = "give a string, an array of strings, `{ ids: number[][] }`, `{ images: ImageData[] }` or \
     `{ tensors: { name: tensor } }`, where a tensor is `{ shape: number[], data: Float32Array | Uint32Array }` or nested arrays \
     of numbers";

/// Plain options, and the signal among them.
pub(super) struct Given<T> {
    pub(super) options: T,
    pub(super) signal: Option<AbortSignal>,
}

/// The address of a package: a string or a `URL`.
pub(super) fn url(given: &JsValue) -> Result<String, RemoteError> {
    let text = given.as_string().or_else(|| given.dyn_ref::<Url>().map(Url::href));
    text.ok_or_else(|| {
        let message = format!("the address of a package should be a string or a URL, found {}", kind(given));
        error(ErrorCode::BadInput, message, "call `Model.load(url, options)`")
    })
}

/// A function that is told of progress, if there is one.
pub(super) fn callback(given: &JsValue) -> Result<Option<Function>, RemoteError> {
    if is_nothing(given) {
        return Ok(None);
    }
    given.dyn_ref().cloned().map(Some).ok_or_else(|| {
        let message = format!("onProgress should be a function, found {}", kind(given));
        error(ErrorCode::BadOption, message, "give a function, or leave it out")
    })
}

/// What can be read as options: the fields of its defaults are the names that are known.
pub(super) trait Options: DeserializeOwned + Serialize + Default {}

impl<T: DeserializeOwned + Serialize + Default> Options for T {}

/// Reads options of the TypeScript interface `name`; nothing at all stands for the defaults. JavaScript writes in camel case
/// what is in snake case here, and a name that is not known is an error.
pub(super) fn options<T: Options>(given: &JsValue, name: &str) -> Result<Given<T>, RemoteError> {
    let bad = |message: String| {
        error(ErrorCode::BadOption, message, format!("`{name}` in webnibble_agent.d.ts lists the options"))
    };
    if is_nothing(given) {
        return Ok(Given { options: T::default(), signal: None });
    }
    if !is_record(given) {
        return Err(bad(format!("the options should be an object, found {}", kind(given))));
    }
    let known = known_names::<T>();
    let (mut fields, mut signal) = (Vec::new(), None);
    for field in names(given).map_err(bad)? {
        match value_of(given, &field).map_err(bad)? {
            value if value.is_undefined() => {}
            value if field == "signal" => signal = signal_of(&value).map_err(bad)?,
            value => fields.push(json_field::<T>(&known, &field, &value).map_err(bad)?),
        }
    }
    let options = serde_json::from_str(&format!("{{{}}}", fields.join(","))).map_err(|e| bad(e.to_string()))?;
    Ok(Given { options, signal })
}

/// The names of an option: in JavaScript and in JSON.
type Names = (String, String);

fn known_names<T: Options>() -> Vec<Names> {
    let json = serde_json::to_value(T::default()).unwrap_or_default();
    json.as_object().into_iter().flatten().map(|(name, _)| (camel_case(name), name.clone())).collect()
}

/// `"name":value` as JSON, if the options `T` have such a field.
fn json_field<T: Options>(known: &[Names], name: &str, value: &JsValue) -> Result<String, String> {
    let Some((_, in_json)) = known.iter().find(|(known, _)| known == name) else {
        let names: Vec<_> = known.iter().map(|(name, _)| format!("`{name}`")).collect();
        return Err(format!("unknown option `{name}`, expected one of {}, `signal`", names.join(", ")));
    };
    let plain = !value.as_f64().is_some_and(f64::is_nan);
    // Gives undefined for a function or a symbol, and throws for a bigint.
    let text = JSON::stringify(value).ok().filter(|text| plain && text.is_string()).and_then(|text| text.as_string());
    let text = text.ok_or_else(|| format!("option `{name}` should be plain data, found {}", kind(value)))?;
    let field = format!("\"{in_json}\":{text}");
    match serde_json::from_str::<T>(&format!("{{{field}}}")) {
        Ok(_) => Ok(field),
        Err(problem) => {
            let problem = problem.to_string();
            // Where in a text that nobody wrote helps nobody.
            Err(format!("option `{name}`: {}", problem.split(" at line ").next().unwrap_or(&problem)))
        }
    }
}

/// A signal of this page, of another frame, or of a library: what counts is what it can do.
fn signal_of(value: &JsValue) -> Result<Option<AbortSignal>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let can = |name| Reflect::get(value, &JsValue::from_str(name)).is_ok_and(|member| member.is_function());
    let tells = Reflect::get(value, &"aborted".into()).is_ok_and(|aborted| aborted.as_bool().is_some());
    if tells && can("addEventListener") && can("removeEventListener") {
        return Ok(Some(value.clone().unchecked_into()));
    }
    Err(format!("option `signal` should be an AbortSignal, found {}", kind(value)))
}

/// Reads a `ModelInput`.
pub(super) fn input(given: &JsValue, truncate: bool, prompt: PromptChoice) -> Result<Input, RemoteError> {
    read_input(given, truncate, prompt).map_err(|message| error(ErrorCode::BadInput, message, INPUT_HINT))
}

fn read_input(given: &JsValue, truncate: bool, prompt: PromptChoice) -> Result<Input, String> {
    // Half a surrogate pair becomes U+FFFD on its way here, as TextEncoder does it.
    if let Some(text) = given.as_string() {
        return Ok(Input::Text { texts: vec![text], truncate, prompt });
    }
    if is_array(given) {
        let text = |(index, value): (u32, JsValue)| {
            value.as_string().ok_or_else(|| format!("text {index} should be a string, found {}", kind(&value)))
        };
        let texts = elements(given)?.map(|element| element.and_then(text)).collect::<Result<_, _>>()?;
        return Ok(Input::Text { texts, truncate, prompt });
    }
    if is_record(given) {
        let [tensors, ids, images] = ["tensors", "ids", "images"].map(|name| value_of(given, name));
        let (tensors, ids, images) = (tensors?, ids?, images?);
        if !tensors.is_undefined() {
            return Ok(Input::Tensors { tensors: read_tensors(&tensors)? });
        }
        if !ids.is_undefined() {
            return Ok(Input::Ids { ids: read_ids(&ids)?, truncate });
        }
        if !images.is_undefined() {
            return Ok(Input::Image { images: read_images(&images)? });
        }
        return Err("an input that is an object should have `ids`, `images` or `tensors`".to_owned());
    }
    Err(format!("an input should be texts, ids, images or tensors, found {}", kind(given)))
}

/// Images by their number: pixels, or an array of such.
fn read_images(given: &JsValue) -> Result<NamedTensors, String> {
    let image = |(index, image): (u32, JsValue)| Ok((index.to_string(), read_image(&image, index)?));
    match is_array(given) {
        true => elements(given)?.map(|element| element.and_then(image)).collect(),
        false => Ok(vec![image((0, given.clone()))?]),
    }
}

/// An `ImageData`, or what has as much: `width`, `height`, and the four bytes of each pixel as `data`.
fn read_image(given: &JsValue, index: u32) -> Result<Tensor, String> {
    if !is_record(given) {
        return Err(format!(
            "image {index} should be an ImageData, or have width, height and data, found {}",
            kind(given)
        ));
    }
    let side = |name| {
        let value = value_of(given, name)?;
        let side = whole_number(&value, f64::from(u32::MAX)).map(|side| side as usize);
        side.ok_or_else(|| format!("`{name}` of image {index} should be a number of pixels, found {}", kind(&value)))
    };
    let (width, height, data) = (side("width")?, side("height")?, value_of(given, "data")?);
    let bytes = match (data.dyn_ref::<Uint8ClampedArray>(), data.dyn_ref::<Uint8Array>()) {
        (Some(bytes), _) => bytes.to_vec(),
        (_, Some(bytes)) => bytes.to_vec(),
        _ => return Err(format!("`data` of image {index} should be a Uint8ClampedArray, found {}", kind(&data))),
    };
    if width.checked_mul(height).and_then(|pixels| pixels.checked_mul(4)) != Some(bytes.len()) {
        let found = bytes.len();
        return Err(format!(
            "image {index} should have 4 bytes for each of {width} × {height} pixels, found {found} bytes"
        ));
    }
    let pixels = bytes.as_chunks::<4>().0.iter().map(|pixel| u32::from_le_bytes(*pixel)).collect();
    Tensor::u32([height, width], pixels).map_err(|error| error.to_string())
}

fn read_ids(given: &JsValue) -> Result<Vec<Vec<u32>>, String> {
    let expected = |found: &JsValue| format!("`ids` should be arrays of token ids, found {}", kind(found));
    let row = |(index, row): (u32, JsValue)| {
        if !is_array(&row) {
            return Err(format!("row {index} of `ids` should be an array, found {}", kind(&row)));
        }
        let id = |(at, id): (u32, JsValue)| {
            whole_number(&id, f64::from(u32::MAX))
                .map(|id| id as u32)
                .ok_or_else(|| format!("id {at} of row {index} should be a token id, found {}", kind(&id)))
        };
        elements(&row)?.map(|element| element.and_then(id)).collect()
    };
    if !is_array(given) {
        return Err(expected(given));
    }
    elements(given)?.map(|element| element.and_then(row)).collect()
}

fn read_tensors(given: &JsValue) -> Result<NamedTensors, String> {
    if !is_record(given) {
        return Err(format!("`tensors` should be an object, tensors by name, found {}", kind(given)));
    }
    let tensor = |name: String| {
        let value = value_of(given, &name)?;
        let tensor = read_tensor(&value).map_err(|problem| format!("tensor `{name}`: {problem}"))?;
        Ok((name, tensor))
    };
    names(given)?.into_iter().map(tensor).collect()
}

fn read_tensor(given: &JsValue) -> Result<Tensor, String> {
    if is_array(given) {
        return read_nested(given);
    }
    if !is_record(given) {
        return Err(format!("it should be nested arrays of numbers or {{ shape, data }}, found {}", kind(given)));
    }
    let (shape, data) = (read_shape(&value_of(given, "shape")?)?, value_of(given, "data")?);
    let made = match (data.dyn_ref::<Float32Array>(), data.dyn_ref::<Uint32Array>()) {
        (Some(floats), _) => {
            let mut values = room_for(&shape, floats.length(), 0.0)?;
            floats.copy_to(&mut values);
            Tensor::f32(shape, values)
        }
        (_, Some(integers)) => {
            let mut values = room_for(&shape, integers.length(), 0)?;
            integers.copy_to(&mut values);
            Tensor::u32(shape, values)
        }
        _ => return Err(format!("its data should be a Float32Array or a Uint32Array, found {}", kind(&data))),
    };
    made.map_err(|problem| problem.to_string())
}

/// Nested arrays of numbers, by the way of JSON: the command line reads them so, too.
fn read_nested(given: &JsValue) -> Result<Tensor, String> {
    let text = JSON::stringify(given).map_err(|thrown| unreadable("arrays", &thrown))?;
    let value = serde_json::from_str(&String::from(text)).map_err(|problem| problem.to_string())?;
    tensor_from_json(&value)
}

fn read_shape(given: &JsValue) -> Result<Vec<usize>, String> {
    if !is_array(given) {
        return Err(format!("its shape should be an array of extents, found {}", kind(given)));
    }
    let extent = |(index, extent): (u32, JsValue)| {
        whole_number(&extent, f64::from(u32::MAX))
            .map(|extent| extent as usize)
            .ok_or_else(|| format!("extent {index} of its shape should be a whole number, found {}", kind(&extent)))
    };
    elements(given)?.map(|element| element.and_then(extent)).collect()
}

/// Memory for the values of a tensor, whose shape has to have as many as there are. What does not fit into memory is an
/// error, and not the end of the agent.
fn room_for<T: Clone>(shape: &[usize], found: u32, zero: T) -> Result<Vec<T>, String> {
    let wanted = shape.iter().try_fold(1u64, |product, extent| product.checked_mul(*extent as u64));
    if wanted != Some(u64::from(found)) {
        return Err(format!("its shape {shape:?} does not fit its data, which has {found} values"));
    }
    let mut values = Vec::new();
    values.try_reserve_exact(found as usize).map_err(|_| format!("there is no memory for {found} values"))?;
    values.resize(found as usize, zero);
    Ok(values)
}

/// A number without a fraction from 0 to `most`.
fn whole_number(value: &JsValue, most: f64) -> Option<f64> {
    value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=most).contains(number))
}

/// The elements of an array with their places, read as they are asked for: the first that does not fit ends it.
fn elements(array: &JsValue) -> Result<impl Iterator<Item = Result<(u32, JsValue), String>>, String> {
    let length = value_of(array, "length")?.as_f64().unwrap_or(0.0) as u32;
    let element = |index| Reflect::get_u32(array, index).map_err(|thrown| unreadable(&index.to_string(), &thrown));
    Ok((0..length).map(move |index| element(index).map(|value| (index, value))))
}

/// The names of an object's own fields.
fn names(object: &JsValue) -> Result<Vec<String>, String> {
    let keys = Reflect::own_keys(object.unchecked_ref()).map_err(|thrown| unreadable("fields", &thrown))?;
    // Symbols are nobody's options.
    Ok(keys.iter().filter_map(|key| key.as_string()).collect())
}

fn value_of(object: &JsValue, name: &str) -> Result<JsValue, String> {
    Reflect::get(object, &name.into()).map_err(|thrown| unreadable(name, &thrown))
}

fn unreadable(what: &str, thrown: &JsValue) -> String {
    format!("`{what}` cannot be read: {}", describe(thrown))
}

fn is_nothing(value: &JsValue) -> bool {
    value.is_undefined() || value.is_null()
}

/// An object with fields: no array, no function.
fn is_record(value: &JsValue) -> bool {
    value.is_object() && !is_array(value)
}

fn is_array(value: &JsValue) -> bool {
    sys::is_array(value).unwrap_or(false)
}

/// What a value is, in an error: `undefined`, `a string`, `an array`.
fn kind(value: &JsValue) -> String {
    if let Some(number) = value.as_f64() {
        return format!("the number {number}");
    }
    match value.js_typeof().as_string().as_deref() {
        Some("undefined") => "undefined".to_owned(),
        Some("object") if value.is_null() => "null".to_owned(),
        Some("object") if is_array(value) => "an array".to_owned(),
        Some("object") => "an object".to_owned(),
        Some(name) => format!("a {name}"),
        None => "something unknown".to_owned(),
    }
}
