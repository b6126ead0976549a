//! The CPU executor as it runs in the page: its matrix products and their SIMD are other code than natively.
#![cfg(target_arch = "wasm32")]

use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};
use webnibble_kernels::cpu;
use webnibble_kernels::exec::Int8Linears;
use webnibble_kernels::problems::{dynamic_int8_problems, problems};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

#[wasm_bindgen_test]
fn the_cpu_solves_every_problem() {
    let (mut failures, mut worst) = (Vec::new(), 0.0_f64);
    let problems = problems();
    for problem in &problems {
        let mut problem = problem.clone();
        // Ten times closer than a GPU kernel has to be.
        problem.tolerance = 1e-4;
        let outputs = cpu::run(&problem.graph, &problem.weights, &problem.inputs);
        let outputs = outputs.map_err(|error| format!("{}: {error}", problem.name));
        match outputs.and_then(|outputs| problem.check(&outputs)) {
            Ok(error) => worst = worst.max(error),
            Err(message) => failures.push(message),
        }
    }
    console_log!("{} problems on the CPU in wasm, largest error {worst:e}", problems.len());
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

/// Codes and their sums are the same in every binary: natively these problems are solved as closely.
#[wasm_bindgen_test]
fn products_of_bytes_are_those_of_the_reference() {
    let problems = dynamic_int8_problems();
    let mut worst = 0.0_f64;
    for case in &problems {
        let problem = &case.0;
        let int8 = Int8Linears::dynamic(&problem.graph, &problem.weights);
        let executor = cpu::Executor::new(&problem.graph, &problem.weights, &problem.inputs).unwrap();
        let outputs = executor.with_activations(&int8).outputs().unwrap();
        worst = worst.max(case.check(&outputs).unwrap());
    }
    console_log!("{} problems in int8 on the CPU in wasm, largest error {worst:e}", problems.len());
}
