//! The CPU backend on every op problem, through packages as they are streamed.

use wasm_bindgen_test::{console_log, wasm_bindgen_test};
use webnibble_common::package::Parsed;
use webnibble_kernels::problems::{Problem, dynamic_int8_problems, problems};

use super::*;
use crate::backend::Devices;
use crate::testing::package;

/// The CPU keeps closer to the reference than kernels have to.
const TOLERANCE: f64 = 1e-4;

async fn load(problem: &Problem) -> Model {
    load_with(problem, &LoadOptions::on(Platform::Wasm)).await
}

async fn load_with(problem: &Problem, options: &LoadOptions) -> Model {
    let file = package(&problem.graph, &problem.weights, serde_json::Value::Null, None, &[]);
    let Ok(Parsed::Header(header)) = Header::parse(&file) else { panic!("{}: no header", problem.name) };
    let mut model = Model::new(problem.graph.clone().into(), &header, options, Rc::default());
    for plane in &header.planes {
        let view = model.begin_plane(plane).unwrap();
        view.copy_from(&file[plane.begin as usize..plane.end as usize]);
        model.finish_plane(plane, &view).unwrap();
    }
    model.finish_load().await.unwrap();
    model
}

#[wasm_bindgen_test]
async fn op_problems_on_the_cpu() {
    let (mut failures, mut worst) = (Vec::new(), (0f64, String::new()));
    let problems = problems();
    for problem in &problems {
        let mut model = load(problem).await;
        let outcome = model.run(&RunRequest::all_of(&problem.inputs), None, &Stop::new(None)).await.unwrap();
        let mut problem = problem.clone();
        problem.tolerance = TOLERANCE;
        match problem.check(&outcome.outputs) {
            Ok(error) if error >= worst.0 => worst = (error, problem.name),
            Ok(_) => {}
            Err(message) => failures.push(message),
        }
    }
    console_log!("wasm CPU: {} op problems, largest error {:e} in {}", problems.len(), worst.0, worst.1);
    assert!(failures.is_empty(), "{} of {} wrong:\n{}", failures.len(), problems.len(), failures.join("\n"));
}

#[wasm_bindgen_test]
async fn op_problems_in_int8() {
    let mut options = LoadOptions::on(Platform::Wasm);
    options.settings.activation_bits = Bits::B8;
    for case in dynamic_int8_problems() {
        let mut model = load_with(&case.0, &options).await;
        assert_eq!((model.activation_bits(), model.implementation_type()), (Bits::B8, ImplementationType::RealWasm));
        assert_eq!(model.variants()["linear"], "int8_dynamic: 1");
        let outcome = model.run(&RunRequest::all_of(&case.0.inputs), None, &Stop::new(None)).await.unwrap();
        let error = case.check(&outcome.outputs).unwrap();
        console_log!("{}: {error:e}", case.0.name);
    }
    // Weights that are not bytes with one scale a row stay in floats, and that is what is said.
    let four = problems().into_iter().find(|problem| problem.name.contains("linear q4")).unwrap();
    let model = load_with(&four, &options).await;
    assert_eq!((model.activation_bits(), model.variants().get("linear")), (Bits::B32, None));
}

#[wasm_bindgen_test]
async fn weights_are_counted_as_they_are_held() {
    let problem = problems().into_iter().find(|problem| problem.name.contains("q4")).unwrap();
    let mut model = load(&problem).await;
    let expected: usize = problem
        .weights
        .values()
        .map(|weight| match weight {
            WeightData::Matrix(matrix) => matrix.packed.len() + 2 * matrix.scales.len() + matrix.zeros.len(),
            WeightData::Vector(values) => 4 * values.len(),
        })
        .sum();
    assert_eq!(model.weights_bytes(), expected as u64);
    model.dispose();
    assert_eq!(model.weights_bytes(), 0);
}

#[wasm_bindgen_test]
async fn a_simulation_says_so() {
    use ImplementationType::{RealWasm, SimulatedWebgpu, SimulatedWebnn};

    let problem = &problems()[0];
    let file = package(&problem.graph, &problem.weights, serde_json::Value::Null, None, &[]);
    let Ok(Parsed::Header(header)) = Header::parse(&file) else { panic!("no header") };
    for (platform, simulate, expected) in [
        (Platform::Webgpu, true, SimulatedWebgpu),
        (Platform::Webnn, true, SimulatedWebnn),
        (Platform::Wasm, false, RealWasm),
    ] {
        let options = LoadOptions { simulate, ..LoadOptions::on(platform) };
        let made = super::super::Model::new(&mut Devices::default(), problem.graph.clone(), &header, &options).await;
        assert_eq!(made.unwrap().implementation_type(), expected, "{platform}");
    }
}

#[wasm_bindgen_test]
async fn threads_that_run_are_reported() {
    let problem = problems().into_iter().find(|problem| problem.name.starts_with("linear")).unwrap();
    let model = load(&problem).await;
    assert_eq!(model.variants()["threads"], "1");
    assert_eq!(model.variants()["product"], threads::product());
}
