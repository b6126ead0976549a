//! What a `preprocessor_config.json` does with an image, step by step as transformers' image processors do on Pillow.

use serde_json::Value;

use super::resample::{CHANNELS, Filter, Levels};
use crate::error::ModelError;
use crate::fields::{Fields, wrong};

/// Most pixels of a side that an image is resized to.
const MOST_PIXELS: usize = 1 << 14;

/// Steps that are not done here: a file that asks for one is refused.
const NOT_DONE: [&str; 5] = ["do_pad", "do_flip_channel_order", "crop_pct", "rescale_offset", "include_top"];

/// Turns images into what a model of one size takes.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageProcessor {
    resize: Option<(Size, Filter)>,
    /// Height and width that are cut out of the middle.
    crop: Option<[usize; 2]>,
    rescale: Option<f64>,
    /// Means and deviations of the channels.
    normalize: Option<[[f32; CHANNELS]; 2]>,
    /// Height and width that the model takes.
    size: [usize; 2],
}

/// What an image is resized to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    /// Height and width, whatever its shape.
    Exactly([usize; 2]),
    /// Its shorter side, in the same proportions.
    Shortest(usize),
}

impl ImageProcessor {
    /// Of a `preprocessor_config.json`, for a model that takes images of `size`, height and width.
    ///
    /// # Errors
    /// For a field with a value that makes no sense, a step that is not done here, and steps that make another size.
    pub fn from_json(config: &Value, size: [usize; 2]) -> Result<Self, ModelError> {
        Self::read(Fields(config), size).map_err(of_own_file)
    }

    fn read(fields: Fields<'_>, size: [usize; 2]) -> Result<Self, ModelError> {
        if !fields.0.is_object() {
            return Err(wrong("size", "a field of an object".into(), "no object".into()));
        }
        for field in NOT_DONE {
            let given = fields.0.get(field).filter(|value| !matches!(value, Value::Null | Value::Bool(false)));
            if let Some(value) = given {
                return Err(wrong(field, "absent: this step is not done here".into(), value.to_string()));
            }
        }
        let resizes = fields.flag("do_resize", true)?;
        let crops = fields.flag("do_center_crop", false)?;
        let processor = Self {
            resize: resizes.then(|| Ok((read_size(fields, size)?, read_filter(fields)?))).transpose()?,
            crop: crops.then(|| read_crop(fields, size)).transpose()?,
            rescale: fields.flag("do_rescale", true)?.then(|| read_factor(fields)).transpose()?,
            normalize: fields.flag("do_normalize", true)?.then(|| read_norm(fields)).transpose()?,
            size,
        };
        processor.check_size()?;
        Ok(processor)
    }

    /// What comes out is what the model takes, as far as that does not depend on the image.
    fn check_size(&self) -> Result<(), ModelError> {
        let (field, made) = match (self.crop, self.resize) {
            (Some(crop), _) => ("crop_size", crop),
            (None, Some((Size::Exactly(size), _))) => ("size", size),
            _ => return Ok(()),
        };
        let show = |[height, width]: [usize; 2]| format!("height {height} and width {width}");
        let expected = || format!("{}, which the model takes", show(self.size));
        if made == self.size { Ok(()) } else { Err(wrong(field, expected(), show(made))) }
    }

    /// Height and width that the model takes.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The values of an image, `[channels, height, width]`. Where they would be of another size than the model takes, that:
    /// height and width.
    pub(super) fn values(&self, image: Levels) -> Result<Vec<f32>, [usize; 2]> {
        let resized = match self.resize {
            Some((size, filter)) => {
                let [height, width] = size.of(&image);
                image.resized(width, height, filter)
            }
            None => image,
        };
        let cut = match self.crop {
            Some(size) => cropped(&resized, size),
            None => resized,
        };
        if [cut.height, cut.width] != self.size {
            return Err([cut.height, cut.width]);
        }
        let channel =
            |channel: usize| cut.data.iter().skip(channel).step_by(CHANNELS).map(move |level| (channel, *level));
        Ok((0..CHANNELS).flat_map(channel).map(|(channel, level)| self.value(channel, level)).collect())
    }

    /// In f64, then in f32, as numpy does it.
    fn value(&self, channel: usize, level: u8) -> f32 {
        let value = self.rescale.map_or(f64::from(level), |factor| f64::from(level) * factor) as f32;
        self.normalize.map_or(value, |[mean, deviation]| (value - mean[channel]) / deviation[channel])
    }
}

impl Size {
    /// Height and width that an image gets.
    fn of(self, image: &Levels) -> [usize; 2] {
        let Self::Shortest(shortest) = self else {
            let Self::Exactly(size) = self else { unreachable!("there are two kinds") };
            return size;
        };
        let longest = |long: usize, short: usize| (shortest * long / short).max(1);
        match image.width <= image.height {
            true => [longest(image.height, image.width), shortest],
            false => [shortest, longest(image.width, image.height)],
        }
    }
}

/// The middle of an image, with zeros where that has not as much.
fn cropped(image: &Levels, [height, width]: [usize; 2]) -> Levels {
    let start = |whole: usize, part: usize| (whole as i64 - part as i64).div_euclid(2);
    let (top, left) = (start(image.height, height), start(image.width, width));
    let mut data = vec![0; height * width * CHANNELS];
    for (at, pixel) in data.chunks_exact_mut(CHANNELS).enumerate() {
        let (line, column) = (top + (at / width) as i64, left + (at % width) as i64);
        if (0..image.height as i64).contains(&line) && (0..image.width as i64).contains(&column) {
            let source = (line as usize * image.width + column as usize) * CHANNELS;
            pixel.copy_from_slice(&image.data[source..][..CHANNELS]);
        }
    }
    Levels { width, height, data }
}

/// `size`: one number, which is height and width; those two; or the shorter side.
fn read_size(fields: Fields<'_>, size: [usize; 2]) -> Result<Size, ModelError> {
    const FIELD: &str = "size";
    let range = || 1..=MOST_PIXELS;
    let Some(given) = fields.0.get(FIELD).filter(|value| value.is_object()) else {
        let side = fields.count_if_there(FIELD, range())?;
        return Ok(Size::Exactly(side.map_or(size, |side| [side; 2])));
    };
    let given = Fields(given);
    let side = |field| given.count_if_there(field, range());
    match [side("height")?, side("width")?, side("shortest_edge")?, side("longest_edge")?] {
        [Some(height), Some(width), None, None] => Ok(Size::Exactly([height, width])),
        [None, None, Some(shortest), None] => Ok(Size::Shortest(shortest)),
        _ => {
            let expected = "a number, {height, width} or {shortest_edge}".to_owned();
            Err(wrong(FIELD, expected, given.0.to_string()))
        }
    }
}

/// `crop_size`: one number, or height and width.
fn read_crop(fields: Fields<'_>, size: [usize; 2]) -> Result<[usize; 2], ModelError> {
    const FIELD: &str = "crop_size";
    let range = || 1..=MOST_PIXELS;
    let Some(given) = fields.0.get(FIELD).filter(|value| value.is_object()) else {
        return Ok(fields.count_if_there(FIELD, range())?.map_or(size, |side| [side; 2]));
    };
    let side = |field| Fields(given).count_if_there(field, range());
    match [side("height")?, side("width")?] {
        [Some(height), Some(width)] => Ok([height, width]),
        _ => Err(wrong(FIELD, "a number or {height, width}".into(), given.to_string())),
    }
}

fn read_filter(fields: Fields<'_>) -> Result<Filter, ModelError> {
    let number = fields.count("resample", 0..=5, 2)?;
    Ok(Filter::of_number(number as u64).expect("the range has no other numbers"))
}

/// In f64, in which levels are multiplied.
fn read_factor(fields: Fields<'_>) -> Result<f64, ModelError> {
    const FIELD: &str = "rescale_factor";
    let Some(value) = fields.0.get(FIELD).filter(|value| !value.is_null()) else { return Ok(1.0 / 255.0) };
    let factor = value.as_f64().filter(|factor| factor.is_finite() && *factor > 0.0);
    factor.ok_or_else(|| wrong(FIELD, "a positive number".into(), value.to_string()))
}

fn read_norm(fields: Fields<'_>) -> Result<[[f32; CHANNELS]; 2], ModelError> {
    let deviation = of_channels(fields, "image_std")?;
    match deviation.iter().any(|deviation| *deviation <= 0.0) {
        true => Err(wrong("image_std", "positive numbers".into(), format!("{deviation:?}"))),
        false => Ok([of_channels(fields, "image_mean")?, deviation]),
    }
}

/// A number for each channel, or one for all.
fn of_channels(fields: Fields<'_>, field: &'static str) -> Result<[f32; CHANNELS], ModelError> {
    let Some(given) = fields.0.get(field).filter(|value| !value.is_null()) else { return Ok([0.5; CHANNELS]) };
    let number = |value: &Value| value.as_f64().map(|number| number as f32).filter(|number| number.is_finite());
    let numbers = match given {
        Value::Array(numbers) => numbers.iter().map(number).collect::<Option<Vec<_>>>(),
        one => number(one).map(|number| vec![number; CHANNELS]),
    };
    let three = numbers.and_then(|numbers| <[f32; CHANNELS]>::try_from(numbers).ok());
    three.ok_or_else(|| wrong(field, format!("{CHANNELS} numbers"), given.to_string()))
}

/// The same error with the name of its file.
fn of_own_file(error: ModelError) -> ModelError {
    match error {
        ModelError::Field { field, expected, found } => ModelError::Preprocessor { field, expected, found },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn image(width: usize, height: usize) -> Levels {
        let data = (0..width * height * CHANNELS).map(|at| (at % 256) as u8).collect();
        Levels { width, height, data }
    }

    fn processor(config: &Value, size: [usize; 2]) -> ImageProcessor {
        ImageProcessor::from_json(config, size).unwrap()
    }

    #[test]
    fn defaults_are_those_of_transformers() {
        let values =
            processor(&json!({}), [2, 2]).values(Levels { width: 2, height: 2, data: [0, 128, 255].repeat(4) });
        let values = values.unwrap();
        let expected = [-1.0, (128.0 / 255.0 - 0.5) / 0.5, 1.0];
        for (channel, expected) in values.chunks(4).zip(expected) {
            assert!(channel.iter().all(|value| (value - expected).abs() < 1e-6), "{channel:?}");
        }
    }

    #[test]
    fn steps_may_be_left_out() {
        let config = json!({"do_resize": false, "do_rescale": false, "do_normalize": false});
        let processor = processor(&config, [2, 3]);
        assert_eq!(processor.values(image(3, 2)).unwrap()[..3], [0.0, 3.0, 6.0]);
        assert_eq!(processor.values(image(3, 3)), Err([3, 3]), "an image of another size stays that");
    }

    #[test]
    fn the_shorter_side_is_resized_and_the_middle_cut_out() {
        let config = json!({"size": {"shortest_edge": 4}, "do_center_crop": true, "crop_size": 2, "do_rescale": false,
            "do_normalize": false, "resample": 0});
        let processor = processor(&config, [2, 2]);
        assert_eq!(Size::Shortest(4).of(&image(6, 3)), [4, 8]);
        assert_eq!(Size::Shortest(4).of(&image(3, 7)), [9, 4]);
        // Of 4 × 4 pixels the middle four.
        assert_eq!(processor.values(image(4, 4)).unwrap()[..4], [15.0, 18.0, 27.0, 30.0]);
    }

    #[test]
    fn what_is_cut_out_beside_the_image_is_zero() {
        let small = Levels { width: 1, height: 2, data: vec![9; 6] };
        let cut = cropped(&small, [4, 4]);
        let lines: Vec<Vec<u8>> = cut.data.chunks(12).map(|line| line.iter().step_by(3).copied().collect()).collect();
        assert_eq!(lines, [[0, 0, 0, 0], [0, 0, 9, 0], [0, 0, 9, 0], [0, 0, 0, 0]]);
    }

    #[test]
    fn what_is_not_done_is_refused_by_its_field() {
        let error = |config: Value| ImageProcessor::from_json(&config, [224, 224]).unwrap_err().to_string();
        assert_eq!(
            error(json!({"do_pad": true})),
            "preprocessor_config.json: `do_pad` should be absent: this step is not done here, found true"
        );
        assert_eq!(
            error(json!({"size": 256})),
            "preprocessor_config.json: `size` should be height 224 and width 224, which the model takes, found height 256 and \
             width 256"
        );
        for (config, field) in [
            (json!({"size": {"longest_edge": 5}}), "size"),
            (json!({"size": "large"}), "size"),
            (json!({"do_center_crop": true, "crop_size": {"height": 224, "width": 225}}), "crop_size"),
            (json!({"resample": 6}), "resample"),
            (json!({"image_mean": [0.5]}), "image_mean"),
            (json!({"image_std": [0.5, 0.0, 0.5]}), "image_std"),
            (json!({"rescale_factor": 0}), "rescale_factor"),
            (json!({"do_resize": 1}), "do_resize"),
        ] {
            let error = error(config);
            assert!(error.starts_with(&format!("preprocessor_config.json: `{field}` should be ")), "{error}");
        }
        assert!(
            ImageProcessor::from_json(&json!({"size": {"height": 224, "width": 224}, "do_pad": false}), [224, 224])
                .is_ok()
        );
    }
}
