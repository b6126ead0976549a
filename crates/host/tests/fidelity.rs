//! What quantization does to a real model: all-MiniLM-L6-v2, through loader, quantizer, package and CPU executor, against
//! the same model in f32. Needs the model that scripts/fetch-models.sh brings, and sentences of the STS benchmark.

use std::path::{Path, PathBuf};

use webnibble_common::quant::{Bits, Granularity, Scheme};
use webnibble_common::weights::WeightMap;
use webnibble_host::loader::{ModelFolder, PackageFile, models_dir};
use webnibble_host::quantizer::{QuantizeOptions, quantize, write_package};
use webnibble_kernels::cpu;
use webnibble_models::input::text::TextTokenizer;

/// Sentences that the numbers are over: the first of the dev split.
const SENTENCES: usize = 100;

fn model() -> Result<ModelFolder, String> {
    let folder = models_dir().join("all-MiniLM-L6-v2");
    if !folder.is_dir() {
        return Err(format!("{} is not there: scripts/fetch-models.sh brings it", folder.display()));
    }
    Ok(ModelFolder::open(&folder, "all-MiniLM-L6-v2").unwrap())
}

fn assets() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    std::env::var_os("WEBNIBBLE_SHARED").map_or_else(beside, PathBuf::from).join("assets")
}

fn sentences() -> Result<Vec<String>, String> {
    let path = assets().join("sts-dev.csv");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.lines().take(SENTENCES).map(|line| line.split('\t').nth(5).unwrap().to_owned()).collect())
}

fn options(bits: Bits, group: usize) -> QuantizeOptions {
    QuantizeOptions { bits, granularity: Granularity::Group(group), ..QuantizeOptions::default() }
}

fn mixed(options: QuantizeOptions) -> QuantizeOptions {
    QuantizeOptions { mixed_precision: true, ..options }
}

fn package(model: &ModelFolder, options: &QuantizeOptions, folder: &Path) -> PackageFile {
    let quantized = quantize(model, options, &mut |_| {}).unwrap();
    write_package(&quantized, &folder.join("package.safetensors")).unwrap()
}

/// One embedding a sentence, of unit length.
fn embed(model: &ModelFolder, weights: &WeightMap, sentences: &[String]) -> Vec<Vec<f32>> {
    const BATCH: usize = 20;
    let limit = model.sentence.as_ref().and_then(|sentence| sentence.max_seq_length).unwrap();
    let tokenizer = TextTokenizer::from_bytes(model.tokenizer.as_ref().unwrap(), limit, 30522).unwrap();
    // Sentences of a length together, so that there is little padding.
    let mut order: Vec<usize> = (0..sentences.len()).collect();
    order.sort_by_key(|index| sentences[*index].len());
    let mut embeddings = vec![Vec::new(); sentences.len()];
    let graph = model.graph.answer();
    for batch in order.chunks(BATCH) {
        let texts: Vec<&str> = batch.iter().map(|index| sentences[*index].as_str()).collect();
        let inputs = tokenizer.encode_batch(&texts, "", false).unwrap().inputs(&graph).unwrap();
        let outputs = cpu::run(&graph, weights, &inputs).unwrap();
        let values = outputs[0].1.as_f32().unwrap();
        for (index, embedding) in batch.iter().zip(values.chunks_exact(values.len() / batch.len())) {
            embeddings[*index] = embedding.to_vec();
        }
    }
    embeddings
}

fn mean_cosine(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let cosine = |(a, b): (&Vec<f32>, &Vec<f32>)| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    a.iter().zip(b).map(cosine).sum::<f64>() / a.len() as f64
}

#[test]
fn embeddings_stay_near_those_of_the_model_in_f32() {
    let (model, sentences) = match (model(), sentences()) {
        (Ok(model), Ok(sentences)) => (model, sentences),
        (Err(reason), _) | (_, Err(reason)) => return println!("skipped: {reason}"),
    };
    let reference = quantize(&model, &QuantizeOptions::reference(), &mut |_| {}).unwrap();
    let expected = embed(&model, &reference.weights, &sentences);
    drop(reference);
    let asymmetric = QuantizeOptions { scheme: Scheme::Asymmetric, ..options(Bits::B4, 32) };
    let cases = [
        ("16 bits", options(Bits::B16, 128), 0.99999),
        ("8 bits, groups of 128", options(Bits::B8, 128), 0.9995),
        ("4 bits, groups of 32", options(Bits::B4, 32), 0.972),
        ("4 bits, groups of 32, asymmetric", asymmetric, 0.977),
        ("4 bits, groups of 128, mixed", mixed(options(Bits::B4, 128)), 0.975),
        ("2 bits, groups of 32", options(Bits::B2, 32), 0.65),
        ("2 bits, groups of 32, mixed", mixed(options(Bits::B2, 32)), 0.78),
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut failures = Vec::new();
    for (name, options, least) in cases {
        let weights = package(&model, &options, folder.path()).read_weights().unwrap();
        let cosine = mean_cosine(&embed(&model, &weights, &sentences), &expected);
        println!("{name}: mean cosine {cosine:.5}, at least {least} wanted");
        if cosine < least {
            failures.push(format!("{name}: {cosine:.5} < {least}"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn packages_are_as_small_as_promised() {
    let model = match model() {
        Ok(model) => model,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let small_tables = QuantizeOptions { embedding_bits: Bits::B8, ..options(Bits::B4, 128) };
    let cases = [
        ("4 bits", options(Bits::B4, 128), 30.5),
        ("4 bits, mixed", mixed(options(Bits::B4, 128)), 32.5),
        ("4 bits, embeddings at 8", small_tables, 18.5),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, options, most) in cases {
        let package = package(&model, &options, folder.path());
        let megabytes = std::fs::metadata(&package.path).unwrap().len() as f64 / 1e6;
        println!("{name}: {megabytes:.2} MB, at most {most} wanted");
        assert!(megabytes <= most, "{name}: {megabytes:.2} MB > {most} MB");
    }
}

#[test]
fn golden_models_become_packages_at_every_width() {
    for family in ["bert", "llama"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/goldens").join(family);
        // Without tokenizer and sentence-transformers files, and of BERT with tensors that the graph does not use.
        let model = ModelFolder::open(&folder, "golden").unwrap();
        let out = tempfile::tempdir().unwrap();
        let mut last = u64::MAX;
        for bits in [Bits::B32, Bits::B16, Bits::B8, Bits::B4, Bits::B2] {
            let package = package(&model, &options(bits, 16), out.path());
            assert_eq!(package.graph, model.graph, "{family}");
            assert_eq!(package.read_weights().unwrap().len(), model.graph.weights.len());
            assert!(package.header.total_bytes < last, "{family}: {bits} bits are smaller than more bits");
            last = package.header.total_bytes;
        }
    }
}
