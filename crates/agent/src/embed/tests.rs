//! The JavaScript face, called with what JavaScript would give.

use js_sys::{JSON, Reflect};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::wasm_bindgen_test;
use webnibble_common::quant::Bits;

use super::*;
use crate::testing::{serve, tiny_bert};

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
    Model::load(url, js(r#"{"platform":"wasm"}"#), JsValue::UNDEFINED).await.unwrap()
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
    let texts = [r#""the cat""#, r#"["the cat"]"#, r#"{"ids":[[2,4,5,3]]}"#].map(js);
    let mut embeddings = Vec::new();
    for input in texts.into_iter().chain([tensors]) {
        let result = JsFuture::from(model.run(input.clone(), JsValue::UNDEFINED, JsValue::UNDEFINED)).await.unwrap();
        let output = get(&result, "outputs.sentence_embedding");
        assert_eq!(String::from(JSON::stringify(&get(&output, "shape")).unwrap()), "[1,32]", "{input:?}");
        embeddings.push(get(&output, "data").dyn_into::<js_sys::Float32Array>().unwrap().to_vec());
        assert_eq!(get(&result, "report.run_ms.length").as_f64(), Some(0.0));
        assert!(get(&result, "report.first_ms").as_f64() > Some(0.0));
    }
    assert_eq!(embeddings[0].len(), 32);
    assert!(embeddings.iter().all(|one| *one == embeddings[0]), "one text, in whatever form: {embeddings:?}");
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
    let thrown =
        Model::load("/nope.safetensors".to_owned(), JsValue::UNDEFINED, JsValue::UNDEFINED).await.err().unwrap();
    assert_eq!(code(&thrown), "fetch");
    assert_eq!(get(&thrown, "name").as_string().as_deref(), Some("WebnibbleError"));
    assert!(thrown.is_instance_of::<js_sys::Error>() && get(&thrown, "hint").as_string().is_some());
    let misspelt = Model::load("/x".to_owned(), js(r#"{"plattform":"wasm"}"#), JsValue::UNDEFINED).await.err().unwrap();
    assert!(get(&misspelt, "message").as_string().unwrap().contains("plattform"));
    let model = model().await;
    for input in [r#""""#, "[]", "17", "{}", r#"{"tensors":{"input_ids":{"shape":[1],"data":[1]}}}"#] {
        let thrown = run(&model, input, JsValue::UNDEFINED).await.unwrap_err();
        assert_eq!(code(&thrown), "bad_input", "{input}");
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
async fn progress_is_told() {
    let calls = js_sys::Array::new();
    let record = js_sys::Function::new_with_args("calls", "return (progress) => calls.push(progress)");
    let record = record.call1(&JsValue::NULL, &calls).unwrap();
    let url = serve(&tiny_bert(Bits::B8));
    Model::load(url, js(r#"{"platform":"wasm"}"#), record).await.unwrap();
    let last = calls.get(calls.length() - 1);
    assert_eq!(get(&last, "stage").as_string().as_deref(), Some("fetch"));
    assert!(get(&last, "done").as_f64() > Some(0.0) && get(&last, "done") == get(&last, "total"));
}
