//! ViT in browsers: the golden's scores against those of transformers, labels of image files, and files that are none.

use webnibble_common::io::{Label, Output};
use webnibble_common::record::RunRecord;
use webnibble_tests::{
    Finished, Sandbox, browser_available, digits, firefox, golden_model, repository, skip_unless, webnn_browser,
};

use crate::golden::{cosine, error, golden_tensors, input_file, run_golden_model};

/// Bits, and the largest error or the least cosine to transformers' scores.
const WIDTHS: [(&str, Result<f32, f64>); 3] = [("32", Ok(1e-3)), ("8", Err(0.999)), ("4", Err(0.95))];

/// Runs the golden model on a platform, at every width.
#[track_caller]
fn scores_are_those_of_transformers(platform: &str, browser: &[String], widths: &[(&str, Result<f32, f64>)]) {
    let sandbox = Sandbox::default();
    let input = input_file(&sandbox, &golden_tensors("vit", "in."));
    let expected = golden_tensors("vit", "out.").remove(0).1;
    let browser: Vec<&str> = browser.iter().map(String::as_str).collect();
    for (bits, limit) in widths {
        let options = ["--platform", platform, "--bits", bits, "--runs", "1", "--no-fallback", "--output", "logits"];
        let record = run_golden_model(&sandbox, "vit", &input, &[&options[..], &browser].concat());
        assert_eq!(record.implementation_type.unwrap().to_string(), format!("REAL_{}", platform.to_uppercase()));
        let Some(Output::Tensors { tensors }) = &record.output else { panic!("{:?}", record.output) };
        let (found, expected) = (&tensors["logits"], expected.as_f32().unwrap());
        assert_eq!(found.shape, [2, 11]);
        let (off, near) = (error(&found.data, expected), cosine(&found.data, expected));
        println!("golden ViT on {platform} at {bits} bits: error {off:.1e}, cosine {near:.6}");
        let holds = match limit {
            Ok(most) => off <= *most,
            Err(least) => near >= *least,
        };
        assert!(holds, "{platform} at {bits} bits: {off:.1e}, {near}");
    }
    sandbox.assert_clean();
}

#[test]
fn in_chromium_scores_are_those_of_transformers() {
    skip_unless!(browser_available());
    for platform in ["webgpu", "wasm"] {
        scores_are_those_of_transformers(platform, &[], &WIDTHS);
    }
}

#[test]
fn in_firefox_scores_are_those_of_transformers() {
    skip_unless!(firefox());
    let browser = firefox().expect("looked for before");
    for platform in ["webgpu", "wasm"] {
        scores_are_those_of_transformers(platform, &browser, &WIDTHS);
    }
}

#[test]
fn on_webnn_scores_are_those_of_transformers() {
    skip_unless!(webnn_browser());
    let browser = webnn_browser().expect("looked for before");
    scores_are_those_of_transformers("webnn", &browser, &[("32", Ok(1e-3)), ("16", Ok(2e-2)), ("8", Err(0.999))]);
}

fn digit(name: &str) -> String {
    digits().join(name).to_str().unwrap().to_owned()
}

/// Runs the classifier of digits on image files.
#[track_caller]
fn classify(sandbox: &Sandbox, images: &[&str], options: &[&str]) -> Finished {
    let (model, images) = (digits(), images.iter().map(|name| digit(name)).collect::<Vec<_>>());
    let images = images.iter().flat_map(|image| ["--image", image.as_str()]);
    let model = ["run", "--gpu", "software", "--runs", "1", "--model", model.to_str().unwrap()];
    sandbox.run(&model.into_iter().chain(images).chain(options.iter().copied()).collect::<Vec<_>>())
}

#[track_caller]
fn labels(finished: &Finished) -> (RunRecord, Vec<Vec<Label>>) {
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let record: RunRecord = serde_json::from_str(&finished.stdout).unwrap();
    let Some(Output::Labels { labels }) = record.output.clone() else { panic!("{:?}", record.output) };
    (record, labels)
}

#[test]
fn image_files_get_labels_with_probabilities() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    for platform in ["webgpu", "wasm"] {
        let options = ["--json", "--no-fallback", "--platform", platform];
        let (record, found) = labels(&classify(&sandbox, &["three.png", "seven.png"], &options));
        assert_eq!(record.implementation_type.unwrap().to_string(), format!("REAL_{}", platform.to_uppercase()));
        let (input, model) = (record.input.unwrap(), record.model.unwrap());
        assert_eq!((input.kind.as_str(), input.batch, input.size), ("image", 2, Some([8, 8])));
        assert_eq!((model.family.as_str(), model.task.as_str()), ("vit", "image-classification"));
        assert_eq!(record.quantization.unwrap().bits.count(), 8, "what is recommended for images");
        for (item, expected) in found.iter().zip(["three", "seven"]) {
            assert_eq!((item.len(), item[0].label.as_str()), (5, expected));
            assert!(
                item[0].probability > 0.5 && item.windows(2).all(|pair| pair[0].probability >= pair[1].probability)
            );
        }
        assert!(record.performance_metrics.quantization_error.unwrap().cosine > 0.99);
    }
    sandbox.assert_clean();
}

#[test]
fn people_read_labels_in_percent() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let finished = classify(&sandbox, &["seven.png"], &["--platform", "wasm"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let line = finished.stdout.lines().find(|line| line.starts_with("image 0")).unwrap_or_default();
    assert!(line.ends_with("% seven"), "{finished:?}");
    sandbox.assert_clean();
}

#[test]
fn what_is_no_input_of_the_model_is_an_error_before_a_browser_starts() {
    let sandbox = Sandbox::default();
    let (bert, vit, image) = (golden_model("bert"), golden_model("vit"), digit("seven.png"));
    let digits = digits();
    let [bert, vit, digits] = [&bert, &vit, &digits].map(|path| path.to_str().unwrap());
    let ids = sandbox.path().join("ids");
    std::fs::write(&ids, "1 2 3").unwrap();
    for (model, options, message) in [
        (bert, ["--image", &image], "the model takes texts or token ids, found an image"),
        (digits, ["--text", "seven"], "the model takes images, found a text"),
        (digits, ["--ids", ids.to_str().unwrap()], "the model takes images, found token ids"),
        (vit, ["--image", &image], "the model has no preprocessor_config.json"),
    ] {
        let finished = sandbox.run(&[&["run", "--model", model][..], &options].concat());
        assert!(matches!(finished.code, Some(1 | 2)), "{options:?}: {finished:?}");
        assert!(finished.stderr.contains(message), "{options:?}: {finished:?}");
    }
}

#[test]
fn files_that_are_no_whole_images_are_errors_that_name_them() {
    let sandbox = Sandbox::default();
    let photo = std::fs::read(repository().join("tests/data/images/photo.jpg")).unwrap();
    let png = std::fs::read(digits().join("seven.png")).unwrap();
    // Width and height stand behind the signature, and the length and name of the first chunk.
    let mut huge = png.clone();
    huge[16..24].copy_from_slice(&[20_000_u32.to_be_bytes(), 20_000_u32.to_be_bytes()].concat());
    let checksum = crc(&huge[12..29]).to_be_bytes();
    huge[29..33].copy_from_slice(&checksum);
    for (name, bytes, message) in [
        ("cut.jpg", &photo[..photo.len() / 2], "the image is truncated"),
        ("cut.png", &png[..png.len() / 2], "the image is truncated"),
        ("huge.png", &huge[..], "expected at most 67108864 pixels, found 20000 × 20000"),
        (
            "text.png",
            b"This is no image.",
            "expected an image (PNG, JPEG, WebP, GIF or BMP), found a file that begins with",
        ),
        ("empty.png", b"", "found an empty file"),
    ] {
        let path = sandbox.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let model = digits();
        let finished =
            sandbox.run(&["run", "--model", model.to_str().unwrap(), "--image", path.to_str().unwrap(), "--json"]);
        assert_eq!(finished.code, Some(2), "{name}: {finished:?}");
        let document = finished.json();
        let found = document["error"]["message"].as_str().unwrap();
        assert!(found.contains(message) && found.contains(name), "{name}: {found}");
    }
}

/// The checksum of a PNG's chunk.
fn crc(bytes: &[u8]) -> u32 {
    let step =
        |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)));
    !bytes.iter().fold(u32::MAX, step)
}
