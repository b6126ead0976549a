//! Text as it comes: an async iterator over its pieces.

use std::cell::RefCell;
use std::rc::Rc;

use futures_channel::mpsc::{self, UnboundedReceiver, UnboundedSender};
use futures_util::StreamExt as _;
use futures_util::lock::Mutex;
use js_sys::{Array, Object, Promise, Reflect, Symbol};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{future_to_promise, spawn_local};
use webnibble_common::generate::{Generated, Part};
use webnibble_common::io::Output;
use webnibble_common::options::GenerationOptions;
use webnibble_common::prompt::PromptChoice;
use webnibble_common::wire::{ErrorCode, RemoteError};

use super::convert::{object, plain, thrown};
use super::read::{Given, input, options};
use super::stopping::{Watch, disposed, unless_stopped};
use crate::error::{error, internal};
use crate::model::{LoadedModel, Ran};
use crate::stop::Stop;

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct GenerateOptions {
    #[serde(flatten)]
    generation: GenerationOptions,
    deadline_ms: Option<u64>,
}

/// What a model goes on with. JavaScript has the interface `TextStream` for it, and iterates over it.
#[wasm_bindgen(skip_typescript)]
pub struct TextStream(Rc<Heard>);

/// What came, for whoever asks next.
struct Heard {
    inbox: Mutex<UnboundedReceiver<Event>>,
    /// How it ended, once that was heard.
    end: RefCell<Option<Result<JsValue, JsValue>>>,
    stop: Stop,
}

enum Event {
    Part(Part),
    End(Box<Result<Ran, RemoteError>>),
}

#[wasm_bindgen]
impl TextStream {
    /// The next piece, or at the end the `GenerateResult`: `{ value, done }`.
    #[wasm_bindgen(skip_typescript)]
    pub fn next(&self) -> Promise {
        let heard = Rc::clone(&self.0);
        future_to_promise(async move {
            match heard.next().await {
                Ok(Next::Piece(part)) => step(part, false),
                Ok(Next::End(result)) => step(result, true),
                Err(thrown) => Err(thrown),
            }
        })
    }

    /// No more of the text is wanted: the model is free for another run.
    #[wasm_bindgen(js_name = return, skip_typescript)]
    pub fn end(&self, value: JsValue) -> Promise {
        self.0.stop.because(error(ErrorCode::Cancelled, "no more of the text was wanted", ""));
        future_to_promise(async move { step(value, true) })
    }

    /// The whole text, once it has ended; pieces that nobody took are passed over.
    #[wasm_bindgen(skip_typescript)]
    pub fn result(&self) -> Promise {
        let heard = Rc::clone(&self.0);
        future_to_promise(async move {
            loop {
                if let Next::End(result) = heard.next().await? {
                    return Ok(result);
                }
            }
        })
    }
}

enum Next {
    Piece(JsValue),
    End(JsValue),
}

impl Heard {
    async fn next(&self) -> Result<Next, JsValue> {
        let mut inbox = self.inbox.lock().await;
        if let Some(end) = &*self.end.borrow() {
            return end.clone().map(Next::End);
        }
        let end = match inbox.next().await {
            Some(Event::Part(part)) => return Ok(Next::Piece(plain(&part))),
            Some(Event::End(ended)) => ended.and_then(|ran| result_of(&ran)).map_err(|e| thrown(&e)),
            None => Err(thrown(&internal("a text ended without a word"))),
        };
        *self.end.borrow_mut() = Some(end.clone());
        end.map(Next::End)
    }
}

/// Begins a text.
pub(super) fn begin(
    loaded: Rc<Mutex<Option<LoadedModel>>>,
    prompt: &JsValue,
    given: &JsValue,
) -> Result<JsValue, RemoteError> {
    let Given { options: GenerateOptions { generation, deadline_ms }, signal } =
        options::<GenerateOptions>(given, "GenerateOptions")?;
    let prompt = input(prompt, false, PromptChoice::Default)?;
    let stop = Stop::new(deadline_ms);
    let (outbox, inbox) = mpsc::unbounded();
    let heard = Heard { inbox: Mutex::new(inbox), end: RefCell::new(None), stop: stop.clone() };
    spawn_local(async move {
        let _watch = Watch::of(signal, &stop);
        let (request_stop, parts) = (stop.clone(), outbox.clone());
        let work = async move {
            let mut loaded = loaded.lock().await;
            request_stop.check()?;
            let model = loaded.as_mut().ok_or_else(disposed)?;
            model
                .generate(&prompt, &generation, &request_stop, |_, _, _| {}, |part| tell(&parts, Event::Part(part)))
                .await
        };
        tell(&outbox, Event::End(Box::new(unless_stopped(&stop, work).await)));
    });
    iterable(TextStream(Rc::new(heard)))
}

/// Whoever wanted the text may be gone.
fn tell(outbox: &UnboundedSender<Event>, event: Event) {
    let _ = outbox.unbounded_send(event);
}

/// The stream with itself as its iterator, as async generators have it: by the function that every iterator has, which gives
/// whatever it is called on.
fn iterable(stream: TextStream) -> Result<JsValue, RemoteError> {
    let stream = JsValue::from(stream);
    let of_iterators = Object::get_prototype_of(&Object::get_prototype_of(&Array::new().values()));
    let itself = Reflect::get(&of_iterators, &Symbol::iterator());
    let set = itself.and_then(|itself| Reflect::set(&stream, &Symbol::async_iterator(), &itself));
    set.map_err(|_| internal("iterators have no iterator of their own"))?;
    Ok(stream)
}

fn step(value: JsValue, done: bool) -> Result<JsValue, JsValue> {
    object(&[("value", value), ("done", done.into())]).map(JsValue::from).map_err(|e| thrown(&e))
}

/// `GenerateResult`.
fn result_of(ran: &Ran) -> Result<JsValue, RemoteError> {
    let generated = ran.report.generated.as_ref().ok_or_else(|| internal("a text without its report"))?;
    let Generated { text, tokens, finish_reason, .. } = generated.clone();
    let output = plain(&Output::Text { text, tokens, finish_reason });
    Ok(object(&[("output", output), ("report", plain(&ran.report))])?.into())
}
