#![no_main]

mod json;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(
    init: {
        // Panics of the tokenizers library are caught and are errors: only those that nobody caught are to end this process.
        std::panic::set_hook(Box::new(|_| {}));
    },
    |data: &[u8]| webnibble_fuzz::run("tokenizer", data)
);
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { json::mutate(data, size, max_size, seed) });
