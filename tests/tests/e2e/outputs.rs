//! No command writes over what it reads, or over a file of a model.

use std::path::{Path, PathBuf};

use webnibble_tests::{Sandbox, golden_bert, repository};

/// A model's folder in the sandbox, with a file that was made there before.
fn model_in(sandbox: &Sandbox) -> PathBuf {
    let model = sandbox.path().join("model");
    std::fs::create_dir(&model).unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(golden_bert().join(name), model.join(name)).unwrap();
    }
    for name in ["q4.safetensors", "results.json", "versus.json"] {
        std::fs::write(model.join(name), "kept").unwrap();
    }
    model
}

/// Every file below a folder, with its content.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => found.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

#[test]
fn a_models_files_are_kept() {
    let sandbox = Sandbox::default();
    let model = model_in(&sandbox);
    std::os::unix::fs::symlink("model", sandbox.path().join("other")).unwrap();
    std::fs::hard_link(model.join("model.safetensors"), sandbox.path().join("hard.safetensors")).unwrap();
    std::fs::write(sandbox.path().join("texts.txt"), "a\nb\n").unwrap();
    let before = contents(&model);
    let record = repository().join("crates/common/src/record/record.golden.json");
    for args in [
        &["quantize", "model", "model/model.safetensors"][..],
        &["quantize", "model", "other/./model.safetensors"],
        &["quantize", "model", "hard.safetensors"],
        &["quantize", "model", "model/config.json"],
        &["quantize", "model", "model/q4.safetensors"],
        &["quantize", "model", "texts.txt", "--calibrate", "texts.txt"],
        &["quantize", "model", "other"],
        &["export", "--onnx", "model", "model"],
        &["export", "--onnx", "model", "other"],
        &["bench", "--model", "model", "--out", "model"],
        &["bench", "--vs", "onnxruntime-web", "--model", "model", "--out", "other"],
        &["report", record.to_str().unwrap(), "--out", "model"],
        &["report", "model/results.json", "--out", "other"],
    ] {
        let mut command = sandbox.command(&[args, &["--json"]].concat());
        command.current_dir(sandbox.path());
        let finished = webnibble_tests::Running::of(command).finish(webnibble_tests::PATIENCE);
        assert_eq!(finished.code, Some(2), "{args:?}: {finished:?}");
        let error = &finished.json()["error"];
        assert_eq!(error["code"], "output", "{args:?}: {error}");
        assert!(!error["hint"].as_str().unwrap().is_empty());
    }
    assert_eq!(contents(&model), before);
    assert_eq!(std::fs::read(sandbox.path().join("texts.txt")).unwrap(), b"a\nb\n");
    sandbox.assert_clean();
}

#[test]
fn what_was_made_before_may_be_made_again() {
    let sandbox = Sandbox::default();
    let model = model_in(&sandbox);
    let run = |args: &[&str]| {
        let mut command = sandbox.command(args);
        command.current_dir(sandbox.path());
        let finished = webnibble_tests::Running::of(command).finish(webnibble_tests::PATIENCE);
        assert_eq!(finished.code, Some(0), "{args:?}: {finished:?}");
    };
    for bits in ["4", "8", "4"] {
        run(&["quantize", "model", "small.safetensors", "--bits", bits]);
        run(&["export", "--onnx", "model", "exported", "--bits", bits]);
    }
    run(&["quantize", "model", "model/q8.safetensors", "--bits", "8"]);
    assert!(model.join("q8.safetensors").is_file());
    let exported: Vec<_> = contents(&sandbox.path().join("exported")).into_iter().map(|(path, _)| path).collect();
    assert!(exported.iter().any(|path| path.ends_with("onnx/model_q4.onnx")), "{exported:?}");
    assert!(exported.iter().any(|path| path.ends_with("onnx/model_quantized.onnx")), "{exported:?}");
    sandbox.assert_clean();
}

#[test]
fn a_configuration_cannot_exhaust_the_memory() {
    let sandbox = Sandbox::default();
    let model = model_in(&sandbox);
    let config = std::fs::read_to_string(model.join("config.json")).unwrap();
    for (field, from, to) in [
        ("num_hidden_layers", "3", "4000000000"),
        ("num_hidden_layers", "3", "1024"),
        ("hidden_size", "64", "2000000000"),
        ("vocab_size", "256", "2000000000"),
        ("intermediate_size", "128", "2000000000"),
    ] {
        let changed = config.replace(&format!("\"{field}\": {from}"), &format!("\"{field}\": {to}"));
        assert_ne!(changed, config);
        std::fs::write(model.join("config.json"), changed).unwrap();
        let inspection = sandbox.run(&["inspect", "--json", model.to_str().unwrap()]);
        assert_eq!(inspection.code, Some(0), "the tensors may be looked at: {inspection:?}");
        let problem = inspection.json()["problem"].to_string();
        assert!(problem.contains(&format!("`{field}`")) && problem.contains(to), "{problem}");
        let finished = sandbox.run(&["quantize", model.to_str().unwrap(), "/dev/null/out"]);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stderr.contains(&format!("`{field}`")), "{finished:?}");
    }
    sandbox.assert_clean();
}
