//! A small model, evaluated on this machine.

use webnibble_common::options::{Options, Settings};
use webnibble_common::prompt::PromptChoice;

use super::*;
use crate::loader::testing::{tiny_model, tiny_tokenizer, write, write_model};
use crate::run::resolve;

const PAIRS: &str =
    "5\tthe cat sat\tthe cat sat\n3\ta dog runs\ta cat runs far\n1\tthe mat\tdog far on\n0\ta\tthe dog sat\n";

/// A folder with a small model and pairs of sentences.
fn request(bits: &[Bits], settings: Settings) -> (tempfile::TempDir, EvalRequest) {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), &tiny_model());
    write(folder.path(), "tokenizer.json", &tiny_tokenizer());
    write(folder.path(), "pairs.tsv", PAIRS.as_bytes());
    let request = EvalRequest {
        model: folder.path().display().to_string(),
        data: folder.path().join("pairs.tsv"),
        limit: None,
        bits: bits.to_vec(),
        prompt: PromptChoice::Default,
        options: Options { settings, ..Options::default() },
        verbose: false,
        progress: None,
    };
    (folder, request)
}

/// A package made of the request's model, in its place: the store of packages is not a test's to write to.
fn with_package(folder: &tempfile::TempDir, mut request: EvalRequest) -> EvalRequest {
    let Ok(Model::Folder(model)) = Model::load(&request.model, &mut |_| {}) else { panic!("the model is a folder") };
    let chosen = Settings { bits: Some(request.bits[0]), ..request.options.settings.clone() };
    let options = Options { settings: chosen, ..Options::default() };
    let options = (&resolve(&options, Platform::Webnn, "bert").unwrap().settings).into();
    let quantized = crate::quantizer::quantize(&model, &options, &mut |_| {}).unwrap();
    let path = folder.path().join("package.safetensors");
    crate::quantizer::write_package(&quantized, &path).unwrap();
    request.model = path.display().to_string();
    request.bits.clear();
    request
}

async fn eval(request: EvalRequest) -> Result<Eval, HostError> {
    match super::eval(request).await? {
        Evaluation::Pairs(eval) => Ok(*eval),
        Evaluation::Text(eval) => panic!("{eval:?} is of a text"),
    }
}

#[test]
fn each_text_is_run_once_and_every_pair_is_judged() {
    let (folder, request) = request(&[], Settings::default());
    let pairs = read_pairs(&request.data, None).unwrap();
    let texts = Texts::of(&pairs, PromptChoice::Default);
    assert_eq!((pairs.len(), texts.len()), (4, 7));
    let Model::Folder(model) = Model::load(&request.model, &mut |_| {}).unwrap() else { panic!("it is a folder") };
    let model = Reference::of_folder(&model).unwrap();
    let embeddings = embed(&request, &model, &texts, "").unwrap();
    let alone = |text: &str| {
        let input = webnibble_common::io::Input::texts(vec![text.to_owned()]);
        model.outputs(&input).unwrap()[0].1.as_f32().unwrap().to_vec()
    };
    let cosines = texts.cosines(&embeddings);
    for (pair, found) in pairs.iter().zip(&cosines) {
        let [one, other] = pair.sentences.each_ref().map(|text| alone(text));
        let expected = crate::reference::cosine(&one, &other);
        assert!((found - expected).abs() < 1e-5, "{pair:?}: {found}, expected {expected}");
    }
    assert!((cosines[0] - 1.0).abs() < 1e-6 && cosines[3] < 0.999_9, "{cosines:?}");
    drop(folder);
}

#[test]
fn agreement_and_error_follow_from_embeddings() {
    let pair = |score: f64, one: &str, other: &str| Pair { score, sentences: [one.to_owned(), other.to_owned()] };
    let pairs = [pair(5.0, "a", "a"), pair(2.0, "a", "bb"), pair(0.0, "a", "ccc")];
    let texts = Texts::of(&pairs, PromptChoice::Default);
    let exact = vec![vec![1.0, 0.0], vec![1.0, 1.0], vec![0.0, 1.0]];
    let judge = Judge { pairs: &pairs, texts: &texts, reference: Some(&exact) };
    assert_eq!(judge.agreement(&exact).spearman, Some(1.0));
    let turned = vec![vec![1.0, 0.0], vec![0.0, 1.0], vec![1.0, 1.0]];
    assert_eq!(judge.agreement(&turned).spearman, Some(0.5));
    let error = error_of_embeddings(&turned, &exact).unwrap();
    assert!((error.cosine - (1.0 + 2.0 * 0.5_f64.sqrt()) / 3.0).abs() < 1e-7, "{error:?}");
    assert_eq!(error_of_embeddings(&exact[..2], &exact), None);
}

#[test]
fn what_is_no_embedding_is_an_error() {
    let texts = Texts::of(&[Pair { score: 1.0, sentences: ["a".into(), "b".into()] }], PromptChoice::Default);
    let hidden = |_, _| Ok(vec![("hidden".to_owned(), Tensor::f32([2, 3, 1], vec![0.0; 6]).unwrap())]);
    let error = texts.embed(hidden).unwrap_err();
    assert_eq!(error.to_string(), "expected 2 embeddings, found shape [2, 3, 1]");
}

#[tokio::test]
async fn a_calibrated_package_is_evaluated_in_int8() {
    let settings = Settings { activation_bits: Some(Bits::B8), ..Settings::default() };
    let (folder, request) = request(&[Bits::B8], settings);
    let int8 = with_package(&folder, request);
    let in_int8 = eval(int8.clone()).await.unwrap();
    assert_eq!((in_int8.computed_in, in_int8.pairs, in_int8.f32, in_int8.rows.len()), (Place::Host, 4, None, 1));
    let row = &in_int8.rows[0];
    assert_eq!((row.format.bits, row.activation_bits, row.int8_linears), (Bits::B8, Bits::B8, Some(4)));
    assert_eq!((row.implementation_type, row.against_f32), (None, None));
    // The same package with activations in floats is another answer.
    let mut floats = int8;
    floats.options.settings.activation_bits = None;
    let in_floats = eval(floats).await.unwrap();
    assert_eq!((in_floats.rows[0].activation_bits, in_floats.rows[0].int8_linears), (Bits::B32, None));
    assert_ne!(in_floats.rows[0].agreement.pearson, row.agreement.pearson);
}

#[tokio::test]
async fn what_the_package_does_not_keep_is_an_error() {
    let (folder, request) = request(&[Bits::B4], Settings::default());
    let mut package = with_package(&folder, request);
    package.options.settings.activation_bits = Some(Bits::B8);
    package.bits = vec![Bits::B8];
    assert_eq!(eval(package.clone()).await.unwrap_err().code(), "package_fixed");
    package.data = folder.path().join("absent.tsv");
    let error = eval(package).await.unwrap_err();
    assert!(error.code() == "data" && error.to_string().contains("absent.tsv"), "{error}");
}

/// The golden LLaMA, with a tokenizer whose words are its ids.
fn text_request(bits: &[Bits]) -> (tempfile::TempDir, EvalRequest) {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/goldens/llama");
    let (_pairs, request) = request(bits, Settings::default());
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(format!("{golden}/{file}"), folder.path().join(file)).unwrap();
    }
    let config = std::fs::read(folder.path().join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    let words = 0..config["vocab_size"].as_u64().unwrap();
    let vocab: serde_json::Map<_, _> = words.map(|id| (format!("w{id}"), id.into())).collect();
    let tokenizer = serde_json::json!({
        "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": null, "decoder": null, "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "w0"},
    });
    write(folder.path(), "tokenizer.json", tokenizer.to_string().as_bytes());
    let text: Vec<String> = (0..300).map(|place: u32| format!("w{}", place * place % 251)).collect();
    write(folder.path(), "text.txt", text.join(" ").as_bytes());
    let data = folder.path().join("text.txt");
    let model = folder.path().display().to_string();
    (folder, EvalRequest { model, data, ..request })
}

#[tokio::test]
async fn a_model_that_generates_is_evaluated_on_a_text() {
    let (_folder, request) = text_request(&[Bits::B32, Bits::B8, Bits::B2]);
    let Evaluation::Text(eval) = super::eval(request).await.unwrap() else { panic!("it generates") };
    // The golden's context of 128 positions, of which the forced tokens' prompt takes 32.
    assert_eq!((eval.window_tokens, eval.tokens, eval.forced_tokens), (128, 300 - 3, Some(96)));
    let in_f32 = eval.f32.unwrap();
    let [exact, eight, two] = &eval.rows[..] else { panic!("three rows") };
    assert_eq!(exact.forced_agreement, Some(1.0));
    assert!((exact.scores.perplexity / in_f32.perplexity - 1.0).abs() < 1e-5, "{eval:?}");
    // Random weights foresee worse than by chance, and lose more with fewer bits.
    let changed = |row: &TextRow| (row.scores.perplexity / in_f32.perplexity - 1.0).abs();
    assert!(changed(eight) < changed(two) && eight.forced_agreement > two.forced_agreement, "{eval:?}");
}

#[tokio::test]
async fn a_text_that_says_nothing_is_an_error() {
    let (_folder, mut request) = text_request(&[Bits::B8]);
    request.limit = Some(40);
    let error = super::eval(request.clone()).await.unwrap_err();
    assert!(error.to_string().ends_with("expected a text of at least 64 tokens, found 40"), "{error}");
    request.options.platform = Some(Platform::Wasm);
    let error = super::eval(request).await.unwrap_err();
    assert_eq!(error.to_string(), "evaluating text in a browser is not there yet");
}
