//! Accuracy: calibrated packages, and how models agree with people.

use std::path::PathBuf;

use webnibble_tests::{
    Sandbox, browser_available, golden_bert, mini_lm, mini_lm_available, skip_unless, webnn_browser,
};

const PAIRS: &str = "\
5.0\tA man plays a guitar.\tA man is playing the guitar.
4.6\tThe child runs across the field.\tA child is running through a field.
3.8\tShe bought a new car last week.\tLast week she bought a red car and a bicycle.
3.0\tThe president spoke about taxes on Monday.\tThe minister talked about the economy.
2.2\tA dog chases a ball.\tA cat chases a mouse.
1.4\tThe train was late this morning.\tThe station has been painted blue.
0.4\tBake the bread for forty minutes.\tThe bank lowered its interest rate.
0.0\tTwo astronauts walked on the moon.\tHow do I reset my password?
";

fn file(sandbox: &Sandbox, name: &str, text: &str) -> PathBuf {
    let path = sandbox.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn fewer_bits_are_further_from_f32() {
    skip_unless!(mini_lm_available());
    let sandbox = Sandbox::default();
    let (model, data) = (mini_lm(), file(&sandbox, "pairs.tsv", PAIRS));
    let (model, data) = (model.to_str().unwrap(), data.to_str().unwrap());
    let finished = sandbox.run(&["eval", "--json", "--model", model, "--data", data, "--bits", "16", "4", "2"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let document = finished.json();
    assert_eq!((&document["pairs"], &document["computed_in"]), (&8.into(), &"host".into()));
    assert!(document["f32"]["spearman"].as_f64().unwrap() > 0.9, "{document}");
    let rows = document["rows"].as_array().unwrap();
    let cosine = |row: usize| rows[row]["against_f32"]["cosine"].as_f64().unwrap();
    println!("cosine to f32 at 16, 4, 2 bits: {}, {}, {}", cosine(0), cosine(1), cosine(2));
    assert!(cosine(0) > 0.9999 && cosine(1) > 0.95 && cosine(1) < cosine(0) && cosine(2) < cosine(1), "{document}");
    assert_eq!(rows[1]["bits"], 4);
    let args = ["eval", "--json", "--model", model, "--data", data, "--bits", "2", "--calibrated-weights"];
    let fitted = sandbox.run(&args).json();
    let fitted = fitted["rows"][0]["against_f32"]["cosine"].as_f64().unwrap();
    println!("at 2 bits with weights fitted to their inputs: {fitted}");
    assert!(fitted > cosine(2), "{fitted}");
    assert!(rows[0]["implementation_type"].is_null(), "no browser ran it");

    let limited = sandbox.run(&["eval", "--model", model, "--data", data, "--bits", "16", "--limit", "3"]);
    assert!(limited.stdout.contains("on 3 pairs") && limited.stdout.contains("in no browser"), "{limited:?}");
}

#[test]
fn a_model_is_calibrated_on_texts_of_ones_own_and_stays_near_f32() {
    skip_unless!(mini_lm_available());
    let sandbox = Sandbox::default();
    let texts =
        file(&sandbox, "texts.txt", "A man plays the violin.\nWhere is the station?\nInterest rates fell by 2%.\n");
    let (model, package) = (mini_lm(), sandbox.path().join("int8.safetensors"));
    let (model, package) = (model.to_str().unwrap(), package.to_str().unwrap());
    let quantized = sandbox.run(&["quantize", model, package, "--calibrate", texts.to_str().unwrap(), "--json"]);
    assert_eq!(quantized.code, Some(0), "{quantized:?}");
    let document = quantized.json();
    let calibration = &document["calibration"];
    assert_eq!((&calibration["source"], &calibration["samples"]), (&"texts.txt".into(), &3.into()));
    assert_eq!((&document["options"]["bits"], &document["options"]["activation_bits"]), (&8.into(), &8.into()));
    // Four a layer, six layers, and that of the pooler.
    assert_eq!(calibration["linears"].as_array().unwrap().len(), 25);
    let kept = sandbox.run(&["inspect", package, "--json"]).json();
    assert_eq!(kept["activations"], serde_json::json!({ "source": "texts.txt", "samples": 3, "linears": 25 }));
    let (int8, floats) = (&calibration["cosine"], &calibration["cosine_weights_only"]);
    assert!(int8.as_f64().unwrap() >= 0.99 && int8.as_f64() < floats.as_f64(), "{calibration}");

    // With the built-in sample, on sentences that are in neither.
    let data = file(&sandbox, "pairs.tsv", PAIRS);
    let args = ["eval", "--json", "--model", model, "--data", data.to_str().unwrap(), "--activation-bits", "8"];
    let evaluated = sandbox.run(&args).json();
    let row = &evaluated["rows"][0];
    println!("8-bit activations, {} linears in int8: {}", row["int8_linears"], row["against_f32"]);
    assert_eq!((&row["activation_bits"], &row["bits"]), (&8.into(), &8.into()));
    assert!(row["int8_linears"].as_u64().unwrap() > 0, "{row}");
    let cosine = row["against_f32"]["cosine"].as_f64().unwrap();
    assert!(cosine > 0.985 && cosine < 0.9999, "{row}");
}

#[test]
fn a_browser_evaluates_as_this_machine_does() {
    skip_unless!(browser_available(), mini_lm_available());
    let sandbox = Sandbox::default();
    let (model, data) = (mini_lm(), file(&sandbox, "pairs.tsv", PAIRS));
    let args = ["eval", "--json", "--model", model.to_str().unwrap(), "--data", data.to_str().unwrap(), "--bits", "4"];
    let here = sandbox.run(&args).json();
    let finished = sandbox.run(&[&args[..], &["--platform", "wasm"]].concat());
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let there = finished.json();
    assert_eq!(
        (&there["computed_in"], &there["rows"][0]["implementation_type"]),
        (&"browser".into(), &"REAL_WASM".into())
    );
    assert!(there["browser"]["version"].is_string(), "{there}");
    let cosine = |document: &serde_json::Value| document["rows"][0]["against_f32"]["cosine"].as_f64().unwrap();
    // The wasm platform may have other defaults for attention; both are near f32, and the browser's as the record says.
    assert!(cosine(&there) > 0.95 && (cosine(&there) - cosine(&here)).abs() < 0.03, "{there}, {here}");
    assert_eq!(there["f32"], here["f32"]);
    sandbox.assert_clean();
}

#[test]
fn webnn_computes_int8_as_the_reference_does() {
    skip_unless!(mini_lm_available(), webnn_browser());
    let browser = webnn_browser().expect("looked for before");
    let sandbox = Sandbox::default();
    let (model, data) = (mini_lm(), file(&sandbox, "pairs.tsv", PAIRS));
    let (model, data) = (model.to_str().unwrap(), data.to_str().unwrap());
    let args = ["eval", "--json", "--model", model, "--data", data, "--activation-bits", "8"];
    let here = sandbox.run(&args).json();
    let browser: Vec<&str> = browser.iter().map(String::as_str).collect();
    let finished = sandbox.run(&[&args[..], &["--platform", "webnn"], &browser].concat());
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let there = finished.json();
    let (here, there) = (&here["rows"][0], &there["rows"][0]);
    assert_eq!((&there["implementation_type"], &there["activation_bits"]), (&"REAL_WEBNN".into(), &8.into()));
    let cosine = |row: &serde_json::Value| row["against_f32"]["cosine"].as_f64().unwrap();
    println!("cosine of int8 to f32 in WebNN {}, by the reference {}", cosine(there), cosine(here));
    // A value between two codes may be rounded the other way; a scale or zero point gone wrong costs far more.
    assert!((cosine(there) - cosine(here)).abs() < 1e-3, "{there}, {here}");
}

#[test]
fn bad_data_and_contradictions_are_named() {
    let sandbox = Sandbox::default();
    let bert = golden_bert();
    let model = bert.to_str().unwrap();
    let bad = file(&sandbox, "bad.tsv", "1.0\ta\tb\nscore\tc\td\n");
    let finished = sandbox.run(&["eval", "--model", model, "--data", bad.to_str().unwrap()]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("line 2") && finished.stderr.contains("`score`"), "{finished:?}");
    let missing = sandbox.run(&["eval", "--model", model, "--data", "/no/such/file.tsv"]);
    assert!(missing.code == Some(1) && missing.stderr.contains("/no/such/file.tsv"), "{missing:?}");

    let data = file(&sandbox, "pairs.tsv", PAIRS);
    let data = data.to_str().unwrap();
    for options in [
        &["--bits", "4", "--activation-bits", "8"][..],
        &["--activation-bits", "4"],
        &["--platform", "auto"],
        &["--bits", "3"],
        &["--limit", "1"],
    ] {
        let finished = sandbox.run(&[&["eval", "--model", model, "--data", data], options].concat());
        assert_eq!(finished.code, Some(2), "{options:?}: {finished:?}");
        assert!(finished.stdout.is_empty() && !finished.stderr.is_empty(), "{options:?}: {finished:?}");
    }
}
