//! What was measured to be the fastest, kept in the page's own storage: an origin that stays the same measures a kind of
//! model once, and not at every load.

use js_sys::Reflect;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Cache, CacheStorage, Response, Url};
use webnibble_kernels::webnn::{Candidate, Lowering};

/// Most parts that are computed side by side.
pub(super) const MOST_PARTS: usize = 4;

/// The fastest of what was measured for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fastest {
    pub(super) lowering: Lowering,
    /// Parts that are computed side by side.
    pub(super) parts: usize,
}

/// Name of the place in the page's storage that holds answers.
const STORAGE: &str = "webnibble-webnn";

/// Raised when answers of before are no longer to be believed.
const REVISION: u32 = 1;

/// An answer as it is stored.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    revision: u32,
    /// All that the answer depends on, as a digest: a place that holds something else is not believed.
    key: String,
    lowering: String,
    parts: usize,
}

/// The answer that is kept for `question`, if it is one of `candidates` and as it was written.
pub(super) async fn kept(question: &str, candidates: &[Candidate]) -> Option<Fastest> {
    let key = digest(question);
    let text = recall(&key).await.ok()??;
    believed(&text, &key, candidates)
}

/// Keeps an answer. A page without storage, or without room, measures again the next time.
pub(super) async fn keep(question: &str, fastest: Fastest) {
    let key = digest(question);
    let Fastest { lowering, parts } = fastest;
    let kept = Kept { revision: REVISION, key: key.clone(), lowering: lowering.name().to_owned(), parts };
    let text = serde_json::to_string(&kept).expect("strings and numbers");
    let _ = remember(&key, &text).await;
}

/// The text that is kept for `key`, if there is one.
async fn recall(key: &str) -> Result<Option<String>, JsValue> {
    let found = JsFuture::from(storage().await?.match_with_str(&place(key)?)).await?;
    match found.dyn_into::<Response>() {
        Ok(response) => Ok(JsFuture::from(response.text()?).await?.as_string()),
        Err(_) => Ok(None),
    }
}

async fn remember(key: &str, text: &str) -> Result<(), JsValue> {
    let response = Response::new_with_opt_str(Some(text))?;
    JsFuture::from(storage().await?.put_with_str(&place(key)?, &response)).await?;
    Ok(())
}

/// The Cache API's part that is ours. Pages that are no secure contexts have none, and sandboxed ones may not ask.
async fn storage() -> Result<Cache, JsValue> {
    let caches: CacheStorage = Reflect::get(&js_sys::global(), &"caches".into())?.dyn_into()?;
    JsFuture::from(caches.open(STORAGE)).await?.dyn_into()
}

/// Where a key's text lies: an address of the page's origin that nobody is asked for.
fn place(key: &str) -> Result<String, JsValue> {
    let location = Reflect::get(&js_sys::global(), &"location".into())?;
    let origin = Reflect::get(&location, &"origin".into())?.as_string().unwrap_or_default();
    Ok(Url::new_with_base(&format!("{STORAGE}/{key}"), &origin)?.href())
}

fn believed(text: &str, key: &str, candidates: &[Candidate]) -> Option<Fastest> {
    let kept: Kept = serde_json::from_str(text).ok()?;
    let lowering: Lowering = kept.lowering.parse().ok()?;
    let is_one = candidates.iter().any(|candidate| candidate.lowering == lowering);
    let is_ours = kept.revision == REVISION && kept.key == key && (1..=MOST_PARTS).contains(&kept.parts);
    (is_one && is_ours).then_some(Fastest { lowering, parts: kept.parts })
}

fn digest(question: &str) -> String {
    Sha256::digest(question).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    const FLOATS: Candidate = Candidate { lowering: Lowering::Float32, exact: true };
    const FASTEST: Fastest = Fastest { lowering: Lowering::Float32, parts: 2 };

    #[wasm_bindgen_test]
    async fn an_answer_is_kept_for_its_question_alone() {
        keep("a question of a test", FASTEST).await;
        assert_eq!(kept("a question of a test", &[FLOATS]).await, Some(FASTEST));
        assert_eq!(kept("another question of a test", &[FLOATS]).await, None);
        let other = Candidate { lowering: Lowering::Dequantize, exact: true };
        assert_eq!(kept("a question of a test", &[other]).await, None, "there is no such choice");
        remember(&digest("a question of a test"), "{").await.unwrap();
        assert_eq!(kept("a question of a test", &[FLOATS]).await, None, "it was damaged");
    }

    #[wasm_bindgen_test]
    fn what_is_damaged_or_foreign_is_not_believed() {
        let text = |revision: u32, key: &str, lowering: &str, parts: usize| {
            serde_json::to_string(&Kept { revision, key: key.into(), lowering: lowering.into(), parts }).unwrap()
        };
        let found = |text: &str| believed(text, "k", &[FLOATS]);
        assert_eq!(found(&text(REVISION, "k", "float32", 2)), Some(FASTEST));
        for wrong in [
            text(REVISION + 1, "k", "float32", 2),
            text(REVISION, "l", "float32", 2),
            text(REVISION, "k", "float64", 2),
            text(REVISION, "k", "int8", 2),
            text(REVISION, "k", "float32", 0),
            text(REVISION, "k", "float32", MOST_PARTS + 1),
            "null".to_owned(),
        ] {
            assert_eq!(found(&wrong), None, "{wrong}");
        }
    }
}
