//! Starting the Workers, and what each of them runs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use js_sys::{Function, Object, Reflect};
use wasm_bindgen::prelude::*;
use webnibble_kernels::cpu::{Helper, Threads};

use super::sys;
use crate::error::describe;

/// The module of wasm-bindgen's that belongs to this binary, as `js/threads.js` sees it: itself, unless it is the tests'
/// runner's, which leaves every file where wasm-bindgen puts it.
const MODULE_FILE: &str = if cfg!(test) { "../../../wasm-bindgen-test.js" } else { "" };

/// Helpers by number, until their Worker takes them.
static WAITING: Mutex<Waiting> = Mutex::new(Waiting { last: 0, helpers: BTreeMap::new() });

struct Waiting {
    last: u32,
    helpers: BTreeMap<u32, Helper>,
}

fn waiting() -> MutexGuard<'static, Waiting> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The calling thread and `wanted − 1` Workers, all of which run when this ends.
pub(super) async fn start(wanted: u32) -> Threads {
    start_with(wanted, None).await
}

/// The same; `on_end`, if given, is called for each Worker that has ended by itself.
pub(super) async fn start_with(wanted: u32, on_end: Option<&Function>) -> Threads {
    let threads = Threads::crew();
    let numbers: Vec<u32> = (1..wanted).filter_map(|_| enlist(&threads)).collect();
    let starts = numbers.iter().map(|number| start_one(&threads, *number, on_end));
    for (number, started) in numbers.iter().zip(join_all(starts).await) {
        if let Err(thrown) = started {
            // What was not taken is dropped, and no longer counts.
            waiting().helpers.remove(number);
            let message = format!("a thread of the CPU executor cannot start: {}", describe(&thrown));
            web_sys::console::warn_1(&message.into());
        }
    }
    threads
}

/// A helper that waits for its Worker.
fn enlist(threads: &Threads) -> Option<u32> {
    let helper = threads.helper()?;
    let mut waiting = waiting();
    waiting.last += 1;
    let number = waiting.last;
    waiting.helpers.insert(number, helper);
    Some(number)
}

async fn start_one(threads: &Threads, number: u32, on_end: Option<&Function>) -> Result<JsValue, JsValue> {
    let failed = threads.failure_flag().map_or(0, |flag| flag as u32);
    let start = Object::new();
    let fields: [(&str, JsValue); 5] = [
        ("url", sys::module_url(MODULE_FILE).into()),
        ("module", wasm_bindgen::module()),
        ("memory", wasm_bindgen::memory()),
        ("number", number.into()),
        ("failed", failed.into()),
    ];
    for (name, value) in fields {
        Reflect::set(&start, &name.into(), &value)?;
    }
    sys::start_thread(&start, on_end).await
}

/// What a thread runs: the helper with that number, until nobody needs it any more. Called by the thread's script.
#[wasm_bindgen(js_name = serveThread)]
pub fn serve_thread(number: u32) {
    let helper = waiting().helpers.remove(&number);
    if let Some(helper) = helper {
        helper.serve();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use wasm_bindgen_test::wasm_bindgen_test;
    use webnibble_kernels::cpu::Executor;
    use webnibble_kernels::problems::problems;

    use super::*;
    use crate::tasks::{sleep, within};

    #[wasm_bindgen_test]
    async fn op_problems_on_threads() {
        for count in [1, 2, 3] {
            let threads = start(count).await;
            assert_eq!(threads.count(), count as usize);
            for mut problem in problems() {
                // The CPU keeps closer to the reference than kernels have to.
                problem.tolerance = 1e-4;
                let executor = Executor::new(&problem.graph, &problem.weights, &problem.inputs).unwrap();
                problem.check(&executor.on(&threads).outputs().unwrap()).unwrap();
            }
        }
    }

    #[wasm_bindgen_test]
    async fn workers_end_with_the_last_owner() {
        let ended = Rc::new(Cell::new(0));
        let counter = Rc::clone(&ended);
        let on_end = Closure::<dyn Fn()>::new(move || counter.set(counter.get() + 1));
        let threads = start_with(3, Some(on_end.as_ref().unchecked_ref())).await;
        let clone = threads.clone();
        drop(threads);
        assert_eq!(clone.count(), 3);
        drop(clone);
        let all_ended = async {
            while ended.get() < 2 {
                sleep(1.0).await;
            }
        };
        assert!(within(10_000.0, all_ended).await.is_some(), "{} of 2 Workers ended", ended.get());
    }
}
