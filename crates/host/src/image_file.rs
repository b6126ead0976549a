//! Image files as the pixels that a model's input is made of: PNG, JPEG, WebP, GIF and BMP, the first picture of several, upright
//! as EXIF says.
//!
//! What becomes of alpha, of 16 bits and of other colors is as Pillow's conversion to RGB does it. The header is believed in
//! nothing: it says how large the picture is, and that is checked before memory is taken for it.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};
use webnibble_common::tensor::Tensor;

use crate::error::Failure;

/// Formats that are read.
const FORMATS: [ImageFormat; 5] =
    [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp];

/// Most pixels of an image: 256 MiB as they are sent to the page.
pub const MOST_PIXELS: u64 = 1 << 26;

/// Most bytes of a file, more than that many pixels take in any format.
const MOST_BYTES: u64 = 1 << 29;

/// Why a file is no image that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageFileError {
    /// It cannot be read.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is something else.
    #[error("{}: expected an image (PNG, JPEG, WebP, GIF or BMP), found {found}", .path.display())]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// It is larger than what memory is taken for.
    #[error(
        "{}: expected at most {MOST_PIXELS} pixels, found {width} × {height}: make it smaller, models take a few hundred pixels \
         a side", .path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Pixels of a line by its header.
        width: u32,
        /// Lines by its header.
        height: u32,
    },
    /// It ends before its picture does.
    #[error("{}: the image is truncated: {what}", .path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
    /// It is damaged, or of a kind that is not read.
    #[error("{}: the image cannot be decoded: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The decoder's message.
        reason: String,
    },
}

impl Failure for ImageFileError {
    fn code(&self) -> String {
        "image".into()
    }

    fn hint(&self) -> String {
        "give an image file: PNG, JPEG, WebP, GIF or BMP".into()
    }
}

/// The picture of a file: its name, and its pixels as [`Input::Image`](webnibble_common::io::Input::Image) has them.
///
/// # Errors
/// When the file is no image, is damaged, or has more pixels than [`MOST_PIXELS`].
pub fn read(path: &Path) -> Result<(String, Tensor), ImageFileError> {
    let bytes = read_bytes(path)?;
    let picture = decode(path, &bytes)?;
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let pixels = Tensor::u32([height, width], pixels_of(&picture));
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    Ok((name, pixels.expect("a picture has a pixel for each place")))
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, ImageFileError> {
    let io = |error| ImageFileError::Io { path: path.to_owned(), error };
    let about = std::fs::metadata(path).map_err(io)?;
    let not_an_image = |found: String| ImageFileError::NotAnImage { path: path.to_owned(), found };
    if !about.is_file() {
        return Err(not_an_image("no file".into()));
    }
    if about.len() > MOST_BYTES {
        return Err(not_an_image(format!("{} bytes, more than an image has", about.len())));
    }
    std::fs::read(path).map_err(io)
}

fn decode(path: &Path, bytes: &[u8]) -> Result<DynamicImage, ImageFileError> {
    let format = format_of(path, bytes)?;
    let failed = |error| failure(path, error);
    let mut decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(ImageFileError::TooLarge { path: path.to_owned(), width, height });
    }
    if format == ImageFormat::Jpeg && !jpeg_is_whole(bytes) {
        // Its decoder fills up what is missing.
        let what = "its data does not end".to_owned();
        return Err(ImageFileError::Truncated { path: path.to_owned(), what });
    }
    let orientation = decoder.orientation().map_err(failed)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(failed)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// The format by the first bytes: an ending may lie.
fn format_of(path: &Path, bytes: &[u8]) -> Result<ImageFormat, ImageFileError> {
    let found = match image::guess_format(bytes) {
        Ok(format) if FORMATS.contains(&format) => return Ok(format),
        Ok(other) => format!("{other:?}"),
        Err(_) if bytes.is_empty() => "an empty file".to_owned(),
        Err(_) => format!("a file that begins with {}", first_bytes(bytes)),
    };
    Err(ImageFileError::NotAnImage { path: path.to_owned(), found })
}

/// The first bytes for people.
fn first_bytes(bytes: &[u8]) -> String {
    let first = &bytes[..bytes.len().min(8)];
    match std::str::from_utf8(first) {
        Ok(text) if text.chars().all(|letter| !letter.is_control()) => format!("the text {text:?}"),
        _ => format!("the bytes {first:02x?}"),
    }
}

fn failure(path: &Path, error: ImageError) -> ImageFileError {
    let path = path.to_owned();
    match error {
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImageFileError::Truncated { path, what: "its data does not end".into() }
        }
        error => ImageFileError::Damaged { path, reason: error.to_string() },
    }
}

/// Whether a JPEG's segments and the data between them go on to its end marker.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    const END: u8 = 0xd9;
    let mut at = 2;
    loop {
        // Between segments any number of fill bytes may stand.
        let Some(marker) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == 0xff)) else {
            return false;
        };
        at += marker + 1;
        match bytes.get(at) {
            Some(&END) => return true,
            // Data: an escaped byte, a restart, or one more fill byte.
            Some(0 | 0xd0..=0xd7) => at += 1,
            Some(0xff) => {}
            // A segment, whose length counts its own two bytes.
            Some(_) => match bytes.get(at + 1..at + 3) {
                Some(length) => at += 1 + usize::from(u16::from_be_bytes([length[0], length[1]])),
                None => return false,
            },
            None => return false,
        }
    }
}

/// Red, green, blue and alpha of each pixel in a u32, from the lowest byte on.
fn pixels_of(picture: &DynamicImage) -> Vec<u32> {
    let pixel = |[red, green, blue]: [u8; 3]| u32::from_le_bytes([red, green, blue, 255]);
    // Of 16 bits the upper ones count, as in Pillow; the crate rounds.
    let gray = |level: u16| pixel([(level >> 8) as u8; 3]);
    let color = |levels: [u16; 3]| pixel(levels.map(|level| (level >> 8) as u8));
    match picture {
        DynamicImage::ImageLuma16(picture) => picture.pixels().map(|found| gray(found.0[0])).collect(),
        DynamicImage::ImageLumaA16(picture) => picture.pixels().map(|found| gray(found.0[0])).collect(),
        DynamicImage::ImageRgb16(picture) => picture.pixels().map(|found| color(found.0)).collect(),
        DynamicImage::ImageRgba16(picture) => {
            picture.pixels().map(|found| color([found.0[0], found.0[1], found.0[2]])).collect()
        }
        other => other.to_rgb8().pixels().map(|found| pixel(found.0)).collect(),
    }
}
