//! The JavaScript face, called with what JavaScript would give.

use js_sys::{JSON, Reflect};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::wasm_bindgen_test;
use webnibble_common::options::ExecutionProvider;
use webnibble_common::quant::Bits;

use super::*;
use crate::testing::{Serving, serve, tiny_bert, tiny_llama, tiny_vit};

fn js(text: &str) -> JsValue {
    JSON::parse(text).unwrap()
}

fn get(value: &JsValue, path: &str) -> JsValue {
    path.split('.').fold(value.clone(), |value, name| Reflect::get(&value, &name.into()).unwrap())
}

fn code(thrown: &JsValue) -> String {
    get(thrown, "code").as_string().unwrap()
}

async fn model() -> Model {
    let url = serve(&tiny_bert(Bits::B4));
    Model::load(url.into(), js(r#"{"platform":"wasm"}"#), JsValue::UNDEFINED).await.unwrap()
}

async fn run(model: &Model, input: &str, options: JsValue) -> Result<JsValue, JsValue> {
    JsFuture::from(model.run(js(input), options, JsValue::UNDEFINED)).await
}

#[wasm_bindgen_test]
async fn every_kind_of_input_runs() {
    let model = model().await;
    assert_eq!(get(&model.report(), "implementation_type").as_string().as_deref(), Some("REAL_WASM"));
    let tensors = js_sys::Function::new_no_args(
        "const tensor = (...data) => ({ shape: [1, 4], data: new Uint32Array(data) });
         return { tensors: { input_ids: tensor(2, 4, 5, 3), attention_mask: tensor(1, 1, 1, 1),
                             token_type_ids: tensor(0, 0, 0, 0) } };",
    );
    let tensors = tensors.call0(&JsValue::NULL).unwrap();
    let nested = r#"{"tensors":{"input_ids":[[2,4,5,3]],"token_type_ids":[[0,0,0,0]]}}"#;
    let texts = [r#""the cat""#, r#"["the cat"]"#, r#"{"ids":[[2,4,5,3]]}"#, nested].map(js);
    let mut embeddings = Vec::new();
    for input in texts.into_iter().chain([tensors]) {
        let result = JsFuture::from(model.run(input.clone(), JsValue::UNDEFINED, JsValue::UNDEFINED)).await.unwrap();
        let output = get(&result, "outputs.sentence_embedding");
        assert_eq!(String::from(JSON::stringify(&get(&output, "shape")).unwrap()), "[1,32]", "{input:?}");
        embeddings.push(get(&output, "data").dyn_into::<js_sys::Float32Array>().unwrap().to_vec());
        assert_eq!(get(&result, "output.kind").as_string().as_deref(), Some("embeddings"));
        let row = get(&result, "output.embeddings.0").dyn_into::<js_sys::Float32Array>().unwrap().to_vec();
        assert_eq!(row, embeddings[embeddings.len() - 1]);
        assert_eq!(get(&result, "report.run_ms.length").as_f64(), Some(0.0));
        assert!(get(&result, "report.first_ms").as_f64() > Some(0.0));
    }
    assert_eq!(embeddings[0].len(), 32);
    assert!(embeddings.iter().all(|one| *one == embeddings[0]), "one text, in whatever form: {embeddings:?}");
}

/// `new Array(count).fill(image)`, whose pixels have these bytes.
fn images(width: u32, height: u32, count: u32, kind: &str) -> JsValue {
    let make = js_sys::Function::new_no_args(&format!(
        "const data = {kind}.from({{ length: {width} * {height} * 4 }}, (_, at) => at * 7 % 256);
         const image = {{ width: {width}, height: {height}, data }};
         return {{ images: {count} === 1 ? image : new Array({count}).fill(image) }};"
    ));
    make.call0(&JsValue::NULL).unwrap()
}

#[wasm_bindgen_test]
async fn images_get_labels() {
    let url = serve(&tiny_vit(Bits::B8));
    let model = Model::load(url.into(), js(r#"{"platform":"wasm"}"#), JsValue::UNDEFINED).await.unwrap();
    let run = async |input: JsValue| JsFuture::from(model.run(input, JsValue::UNDEFINED, JsValue::UNDEFINED)).await;
    let mut likeliest = Vec::new();
    for input in [images(9, 5, 1, "Uint8Array"), images(9, 5, 3, "Uint8ClampedArray")] {
        let result = run(input).await.unwrap();
        assert_eq!(get(&result, "output.kind").as_string().as_deref(), Some("labels"));
        let probability = |at: &str| get(&result, &format!("output.labels.{at}.probability")).as_f64().unwrap();
        let all: f64 = ["0.0", "0.1", "0.2"].map(probability).iter().sum();
        assert!((all - 1.0).abs() < 1e-5 && probability("0.0") >= probability("0.1"), "{all}");
        likeliest.push((get(&result, "output.labels.0.0.label").as_string().unwrap(), probability("0.0")));
    }
    assert_eq!(likeliest[0], likeliest[1], "alone or in a batch");
    for (input, message) in [
        (images(3, 3, 1, "Float32Array"), "`data` of image 0 should be a Uint8ClampedArray"),
        (js(r#"{"images":[7]}"#), "image 0 should be an ImageData"),
        (js(r#"{"images":[]}"#), "at least one image"),
        (js(r#"{"images":{"width":-1}}"#), "`width` of image 0 should be a number of pixels"),
        (images(1, 1, 1, "Uint8Array"), "a single pixel"),
        (js(r#""a text""#), "the model takes images, found a text"),
    ] {
        let thrown = run(input).await.unwrap_err();
        let found = get(&thrown, "message").as_string().unwrap();
        assert!(code(&thrown) == "bad_input" && found.contains(message), "{found}");
    }
}

#[wasm_bindgen_test]
async fn outputs_are_read_by_their_names() {
    let model = model().await;
    let options = js(r#"{"outputs":["pooler_output","hidden_states.0"]}"#);
    let result = run(&model, r#""the cat""#, options).await.unwrap();
    let outputs = get(&result, "outputs");
    let shape = |name: &str| {
        let output = Reflect::get(&outputs, &name.into()).unwrap();
        String::from(JSON::stringify(&get(&output, "shape")).unwrap())
    };
    assert_eq!((shape("pooler_output"), shape("hidden_states.0")), ("[1,32]".to_owned(), "[1,4,32]".to_owned()));
    assert_eq!(get(&result, "output.kind").as_string().as_deref(), Some("tensors"));
    assert_eq!(get(&result, "output.tensors"), outputs);
    assert_eq!(Reflect::own_keys(outputs.unchecked_ref()).unwrap().length(), 2, "and none besides");
    let pooled = get(&outputs, "pooler_output.data").dyn_into::<js_sys::Float32Array>().unwrap().to_vec();
    assert!(
        pooled.iter().all(|value| value.abs() <= 1.0) && pooled.iter().any(|value| value.abs() > 1e-3),
        "{pooled:?}"
    );
    let thrown = run(&model, r#""the cat""#, js(r#"{"outputs":["logits"]}"#)).await.unwrap_err();
    let message = get(&thrown, "message").as_string().unwrap();
    assert!(code(&thrown) == "bad_input" && message.contains("sentence_embedding, last_hidden_state"), "{message}");
}

#[wasm_bindgen_test]
async fn a_prompt_is_chosen_by_its_name() {
    let model = model().await;
    let embedding = async |input: &str, options: &str| {
        let result = run(&model, input, js(options)).await.unwrap();
        get(&result, "outputs.sentence_embedding.data").dyn_into::<js_sys::Float32Array>().unwrap().to_vec()
    };
    let whole = embedding(r#""the cat""#, "{}").await;
    assert_eq!(embedding(r#""cat""#, r#"{"promptName":"article"}"#).await, whole);
    assert_ne!(embedding(r#""cat""#, r#"{"promptName":null}"#).await, whole);
    let thrown = run(&model, r#""cat""#, js(r#"{"promptName":"query"}"#)).await.unwrap_err();
    let message = get(&thrown, "message").as_string().unwrap();
    assert!(code(&thrown) == "bad_input" && message.contains("its prompts are article"), "{message}");
}

#[wasm_bindgen_test]
async fn failures_are_thrown_with_code_and_hint() {
    let thrown = Model::load("/nope.safetensors".into(), JsValue::UNDEFINED, JsValue::UNDEFINED).await.err().unwrap();
    assert_eq!(code(&thrown), "fetch");
    assert_eq!(get(&thrown, "name").as_string().as_deref(), Some("WebnibbleError"));
    assert!(thrown.is_instance_of::<js_sys::Error>() && get(&thrown, "hint").as_string().is_some());
    let misspelt = Model::load("/x".into(), js(r#"{"plattform":"wasm"}"#), JsValue::UNDEFINED).await.err().unwrap();
    assert!(get(&misspelt, "message").as_string().unwrap().contains("plattform"));
    let model = model().await;
    for input in [
        r#""""#,
        "[]",
        "17",
        "{}",
        r#"{"tensors":{"input_ids":{"shape":[1],"data":[1]}}}"#,
        r#"{"tensors":{"input_ids":[[1,2],[3]]}}"#,
    ] {
        let thrown = run(&model, input, JsValue::UNDEFINED).await.unwrap_err();
        assert_eq!(code(&thrown), "bad_input", "{input}");
    }
}

/// Every option of the table that the page takes, by the name that JavaScript has for it; and no other field of the wire.
#[wasm_bindgen_test]
async fn options_of_the_table_are_known_by_their_names() {
    let given = js(r#"{"platform":"wasm","threads":2,"activationBits":8,"executionProvider":"npu","halfTiles":true,
        "chunkedOperations":false,"workgroupSize":[64,1,1],"lowering":"int8","portableKernels":true,"deadlineMs":9,
        "shaderPrecompilation":true}"#);
    let wire = options::<LoadOptions>(&given, "LoadOptions").ok().unwrap().options.wire();
    let expected = PageSettings {
        threads: Some(2),
        activation_bits: Bits::B8,
        execution_provider: Some(ExecutionProvider::Npu),
        half_tiles: true,
        chunked_operations: Some(false),
        workgroup_size: Some([64, 1, 1]),
        lowering: Some("int8".into()),
        portable_kernels: Some(true),
        shader_precompilation: true,
        ..PageSettings::default()
    };
    assert_eq!((wire.platform, wire.deadline_ms, wire.settings), (Platform::Wasm, Some(9), expected));
    for (given, words) in [
        (r#"{"half_tiles":true}"#, ["`half_tiles`", "`halfTiles`"]),
        (r#"{"simulate":true}"#, ["`simulate`", "`platform`"]),
        (r#"{"embeddingBits":8}"#, ["`embeddingBits`", "`activationBits`"]),
        (r#"{"activationBits":3}"#, ["`activationBits`", "found 3"]),
        (r#"{"threads":"many"}"#, ["`threads`", "u32"]),
    ] {
        let refused = options::<LoadOptions>(&js(given), "LoadOptions").err().unwrap();
        assert!(words.iter().all(|word| refused.message.contains(word)), "{given}: {}", refused.message);
    }
}

#[wasm_bindgen_test]
async fn a_signal_aborts_a_run() {
    let model = model().await;
    let aborter = web_sys::AbortController::new().unwrap();
    let options = js(r#"{"runs":1000000}"#);
    Reflect::set(&options, &"signal".into(), &aborter.signal()).unwrap();
    let running = model.run(js(r#""cat""#), options.clone(), JsValue::UNDEFINED);
    spawn_local(async move {
        crate::tasks::sleep(50.0).await;
        aborter.abort();
    });
    assert_eq!(code(&JsFuture::from(running).await.unwrap_err()), "cancelled");
    // The same signal, aborted already.
    let running = model.run(js(r#""cat""#), options, JsValue::UNDEFINED);
    assert_eq!(code(&JsFuture::from(running).await.unwrap_err()), "cancelled");
}

#[wasm_bindgen_test]
async fn runs_queue_up_and_dispose_waits_for_them() {
    let model = model().await;
    let first = model.run(js(r#""cat""#), js(r#"{"runs":20}"#), JsValue::UNDEFINED);
    let second = model.run(js(r#""the cat""#), JsValue::UNDEFINED, JsValue::UNDEFINED);
    model.dispose();
    JsFuture::from(first).await.unwrap();
    JsFuture::from(second).await.unwrap();
    assert_eq!(code(&run(&model, r#""cat""#, JsValue::UNDEFINED).await.unwrap_err()), "unknown_model");
}

#[wasm_bindgen_test]
async fn a_text_is_iterated_over_as_it_comes() {
    let url = serve(&tiny_llama(Bits::B8));
    let model = Model::load(url.into(), js(r#"{"platform":"wasm"}"#), JsValue::UNDEFINED).await.unwrap();
    let five = js(r#"{"maxTokens":5}"#);
    let stream = model.generate(&js(r#""the cat""#), &five).unwrap();
    let iterate = js_sys::Function::new_with_args(
        "stream",
        "return (async () => {
            const parts = [];
            for await (const part of stream) parts.push(part);
            return { text: parts.map((part) => part.text).join(''), tokens: parts.flatMap((part) => part.tokens),
                     result: await stream.result(), again: await stream.next() };
        })()",
    );
    let promise: js_sys::Promise = iterate.call1(&JsValue::NULL, &stream).unwrap().unchecked_into();
    let whole = JsFuture::from(promise).await.unwrap();
    let text = |value: &JsValue| String::from(JSON::stringify(value).unwrap());
    assert_eq!(get(&whole, "tokens.length").as_f64(), Some(5.0));
    assert_eq!(text(&get(&whole, "tokens")), text(&get(&whole, "result.output.tokens")));
    assert_eq!(text(&get(&whole, "text")), text(&get(&whole, "result.output.text")));
    assert_eq!(get(&whole, "result.output.finish_reason").as_string().as_deref(), Some("max_tokens"));
    assert_eq!(get(&whole, "result.report.generated.token_ms.length").as_f64(), Some(4.0));
    assert_eq!(get(&whole, "again.done").as_bool(), Some(true));

    // Leaving the loop ends the text, and the model is free.
    let leave =
        js_sys::Function::new_with_args("stream", "return (async () => { for await (const _ of stream) break; })()");
    let stream = model.generate(&js(r#"{"ids":[[2,4]]}"#), &js(r#"{"maxTokens":150,"ignoreEos":true}"#)).unwrap();
    let promise: js_sys::Promise = leave.call1(&JsValue::NULL, &stream).unwrap().unchecked_into();
    JsFuture::from(promise).await.unwrap();
    let result = stream.unchecked_into::<Stream>().result();
    assert_eq!(code(&JsFuture::from(result).await.unwrap_err()), "cancelled");

    let wrong = |options: &str| code(&model.generate(&js(r#""cat""#), &js(options)).unwrap_err());
    assert_eq!(wrong(r#"{"maxTokenz":5}"#), "bad_option");
    let late = model.generate(&js(r#""cat""#), &js(r#"{"topP":2}"#)).unwrap().unchecked_into::<Stream>().result();
    assert_eq!(code(&JsFuture::from(late).await.unwrap_err()), "bad_option");
}

#[wasm_bindgen]
extern "C" {
    type Stream;

    #[wasm_bindgen(method)]
    fn result(this: &Stream) -> js_sys::Promise;
}

#[wasm_bindgen_test]
async fn progress_is_told() {
    let calls = js_sys::Array::new();
    let record = js_sys::Function::new_with_args("calls", "return (progress) => calls.push(progress)");
    let record = record.call1(&JsValue::NULL, &calls).unwrap();
    let url = serve(&tiny_bert(Bits::B8));
    Model::load(url.into(), js(r#"{"platform":"wasm"}"#), record).await.unwrap();
    let last = calls.get(calls.length() - 1);
    assert_eq!(get(&last, "stage").as_string().as_deref(), Some("fetch"));
    assert!(get(&last, "done").as_f64() > Some(0.0) && get(&last, "done") == get(&last, "total"));
}

/// What TextEncoder makes of it, and so of the whole web.
#[wasm_bindgen_test]
async fn half_a_surrogate_pair_is_a_replacement_character() {
    let model = model().await;
    let run = |input: JsValue| JsFuture::from(model.run(input, JsValue::UNDEFINED, JsValue::UNDEFINED));
    let values =
        |result: JsValue| get(&result, "outputs.sentence_embedding.data").unchecked_into::<js_sys::Float32Array>();
    let broken = js_sys::Function::new_no_args(r#"return ["the \ud83d cat", "cat\udc00", "sat"]"#);
    let found = values(run(broken.call0(&JsValue::NULL).unwrap()).await.unwrap());
    let expected = values(run(js(r#"["the \ufffd cat", "cat\ufffd", "sat"]"#)).await.unwrap());
    assert_eq!(found.to_vec(), expected.to_vec());
    assert_eq!(found.length(), 3 * 32);
}

#[wasm_bindgen_test]
async fn a_wrong_option_is_named_with_what_it_should_be() {
    let model = model().await;
    for (options, words) in [
        (r#"{"runs":"many"}"#, ["`runs`", "u32"]),
        (r#"{"deadlineMs":-1}"#, ["`deadlineMs`", "u64"]),
        (r#"{"repeats":1}"#, ["`repeats`", "`warmup`"]),
        (r#"{"signal":{}}"#, ["`signal`", "AbortSignal"]),
        ("[true]", ["an object", "an array"]),
    ] {
        let thrown = run(&model, r#""cat""#, js(options)).await.unwrap_err();
        let message = get(&thrown, "message").as_string().unwrap();
        assert_eq!(code(&thrown), "bad_option", "{options}");
        assert!(words.iter().all(|word| message.contains(word)), "{options}: {message}");
        assert!(!message.contains(" at line "), "{message}");
    }
}

/// A server that never sends holds up its own load, and nobody else's.
#[wasm_bindgen_test]
async fn a_stalled_load_keeps_nobody_waiting() {
    let url = Serving { chunk_bytes: 0, ..Serving::well(&[0; 64]) }.serve(&[0; 64]);
    let stalled = Model::load(url.into(), js(r#"{"platform":"wasm","deadlineMs":60000}"#), JsValue::UNDEFINED);
    spawn_local(async move { drop(stalled.await) });
    crate::tasks::sleep(10.0).await;
    let others = async {
        capabilities().await;
        model().await;
    };
    assert!(crate::tasks::within(30_000.0, others).await.is_some());
}

/// The first run takes the model for as long as it likes; the deadline of the second is kept all the same.
#[wasm_bindgen_test]
async fn a_deadline_counts_while_a_run_waits_for_another() {
    let model = model().await;
    let aborter = web_sys::AbortController::new().unwrap();
    let options = js(r#"{"runs":1000000}"#);
    Reflect::set(&options, &"signal".into(), &aborter.signal()).unwrap();
    let long = model.run(js(r#""cat""#), options, JsValue::UNDEFINED);
    assert_eq!(code(&run(&model, r#""cat""#, js(r#"{"deadlineMs":50}"#)).await.unwrap_err()), "deadline");
    aborter.abort();
    assert_eq!(code(&JsFuture::from(long).await.unwrap_err()), "cancelled");
}
