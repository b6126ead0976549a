//! Images to the pixel values that a model takes.
//!
//! Whoever has a file or a picture decodes it (the host with a crate, a page with its browser), and gives its pixels: a u32 tensor
//! `[height, width]`, red, green, blue and alpha in the bytes of each, from the lowest on, as `ImageData` has them. Alpha counts
//! for nothing, as where Pillow converts to RGB. From there on everybody shares this.

mod processor;
mod resample;

use webnibble_common::graph::{Graph, Patches};
use webnibble_common::io::NamedTensors;
use webnibble_common::tensor::Tensor;

use crate::vit::PIXEL_VALUES;
pub use processor::ImageProcessor;
use resample::{CHANNELS, Levels};

/// Why images do not fit a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// No image was given.
    #[error("expected at least one image, found none")]
    None,
    /// A model that says nothing of how images become its input.
    #[error("the model has no preprocessor_config.json, so it takes the tensor `{PIXEL_VALUES}` and no images")]
    NoProcessor,
    /// A model of other channels than an image has.
    #[error("the model takes images of {found} channels; an image has {CHANNELS}, red, green and blue")]
    Channels {
        /// Channels that it takes.
        found: usize,
    },
    /// A tensor that holds no pixels.
    #[error("image `{name}`: expected pixels as u32 [height, width], found {found}")]
    Pixels {
        /// Which image.
        name: String,
        /// What it is.
        found: String,
    },
    /// A picture of nothing.
    #[error("image `{name}` is a single pixel: expected a picture of at least two")]
    SinglePixel {
        /// Which image.
        name: String,
    },
    /// An image that is not resized to what the model takes.
    #[error(
        "image `{name}`: the model takes {expected:?} pixels in height and width, and its preprocessor_config.json makes {found:?}"
    )]
    Size {
        /// Which image.
        name: String,
        /// Height and width that the model takes.
        expected: [usize; 2],
        /// Height and width that it would be given.
        found: [usize; 2],
    },
}

/// Whether a program's input is images.
pub fn takes_images(graph: &Graph) -> bool {
    graph.inputs.iter().any(|id| graph.value_of(*id).name == PIXEL_VALUES)
}

/// A batch of images as the input of a program.
///
/// # Errors
/// When the model does not take such images.
pub fn pixel_values(
    graph: &Graph,
    processor: Option<&ImageProcessor>,
    images: &[(String, Tensor)],
) -> Result<NamedTensors, ImageError> {
    let input = graph.inputs.iter().find(|id| graph.value_of(**id).name == PIXEL_VALUES);
    let [channels, ..] = input.map(|id| Patches::extents(&graph.value_of(*id).shape)).unwrap_or_default();
    if channels != CHANNELS {
        return Err(ImageError::Channels { found: channels });
    }
    let processor = processor.ok_or(ImageError::NoProcessor)?;
    let (mut values, [height, width]) = (Vec::new(), processor.size());
    for (name, pixels) in images {
        let wrong_size = |found| ImageError::Size { name: name.clone(), expected: processor.size(), found };
        values.append(&mut processor.values(levels(name, pixels)?).map_err(wrong_size)?);
    }
    if images.is_empty() {
        return Err(ImageError::None);
    }
    let batch = Tensor::f32([images.len(), channels, height, width], values);
    Ok(vec![(PIXEL_VALUES.to_owned(), batch.expect("every image has as many values as the model takes"))])
}

fn levels(name: &str, pixels: &Tensor) -> Result<Levels, ImageError> {
    let (&[height, width], Ok(values)) = (pixels.shape(), pixels.as_u32()) else {
        let found = format!("{} {:?}", pixels.dtype(), pixels.shape());
        return Err(ImageError::Pixels { name: name.to_owned(), found });
    };
    if values.is_empty() {
        return Err(ImageError::Pixels { name: name.to_owned(), found: format!("{height} lines of {width} pixels") });
    }
    if values.len() == 1 {
        return Err(ImageError::SinglePixel { name: name.to_owned() });
    }
    let color = |pixel: &u32| {
        let [red, green, blue, _] = pixel.to_le_bytes();
        [red, green, blue]
    };
    Ok(Levels { width, height, data: values.iter().flat_map(color).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelConfig;
    use serde_json::json;

    fn graph(channels: usize) -> Graph {
        let config = json!({"model_type": "vit", "image_size": 2, "patch_size": 1, "num_channels": channels,
            "num_hidden_layers": 1, "hidden_size": 12});
        ModelConfig::from_json(&config).unwrap().graph(None)
    }

    fn picture(shape: [usize; 2], pixel: u32) -> (String, Tensor) {
        ("a.png".to_owned(), Tensor::u32(shape, vec![pixel; shape[0] * shape[1]]).unwrap())
    }

    #[test]
    fn bytes_of_a_pixel_are_red_green_blue_and_alpha() {
        let config = json!({"do_rescale": false, "do_normalize": false});
        let processor = ImageProcessor::from_json(&config, [2, 2]).unwrap();
        let images = [picture([2, 2], 0x7f03_0201), picture([5, 4], 0x0009_0807)];
        let found = pixel_values(&graph(3), Some(&processor), &images).unwrap();
        let [(name, tensor)] = &found[..] else { panic!("one input") };
        assert_eq!((name.as_str(), tensor.shape()), ("pixel_values", &[2, 3, 2, 2][..]));
        let expected: Vec<f32> = [1.0, 2.0, 3.0, 7.0, 8.0, 9.0].iter().flat_map(|level| [*level; 4]).collect();
        assert_eq!(tensor.as_f32().unwrap(), expected);
    }

    #[test]
    fn images_that_do_not_fit_are_errors() {
        let fixed = ImageProcessor::from_json(&json!({"do_resize": false}), [2, 2]).unwrap();
        let error = |channels, processor, images: &[(String, Tensor)]| {
            pixel_values(&graph(channels), processor, images).unwrap_err().to_string()
        };
        assert_eq!(error(3, Some(&fixed), &[]), "expected at least one image, found none");
        assert!(error(3, None, &[picture([2, 2], 0)]).contains("no preprocessor_config.json"));
        assert!(error(1, Some(&fixed), &[picture([2, 2], 0)]).starts_with("the model takes images of 1 channels"));
        let error_of = |image| error(3, Some(&fixed), &[image]);
        let expected = "image `a.png`: the model takes [2, 2] pixels in height and width, and its preprocessor_config.json makes [3, 2]";
        assert_eq!(error_of(picture([3, 2], 0)), expected);
        assert!(error_of(picture([0, 2], 0)).ends_with("found 0 lines of 2 pixels"));
        let floats = ("x".to_owned(), Tensor::f32([1], vec![0.5]).unwrap());
        assert_eq!(error_of(floats), "image `x`: expected pixels as u32 [height, width], found f32 [1]");
    }
}
