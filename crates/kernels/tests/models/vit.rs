//! ViT.

use webnibble_common::quant::Format;
use webnibble_common::tensor::Tensor;
use webnibble_kernels::problems::compare;

use crate::checkpoint::{Checkpoint, config, read_io};
use crate::{EXECUTORS, TOLERANCE};

fn checkpoint() -> Checkpoint {
    Checkpoint::read(&crate::golden("vit").join("model.safetensors"))
}

/// The golden's images and the scores of their labels.
fn io() -> (Vec<(String, Tensor)>, Tensor) {
    let (inputs, mut outputs) = read_io(&crate::golden("vit").join("io.safetensors"));
    (inputs, outputs.remove("logits").unwrap())
}

#[test]
fn the_golden_is_met() {
    let graph = config(&crate::golden("vit")).graph(None);
    let (inputs, logits) = io();
    let renamed = |name: &str| name.strip_prefix("vit.").unwrap_or(name).to_owned();
    for checkpoint in [checkpoint(), checkpoint().renamed(renamed)] {
        let weights = checkpoint.weights(&graph, |_| Format::F32);
        for (name, run) in EXECUTORS {
            let outputs = run(&graph, &weights, &inputs).unwrap();
            let names: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
            let hidden = ["hidden_states.0", "hidden_states.1", "hidden_states.2", "hidden_states.3"];
            assert_eq!(names, [&["logits", "last_hidden_state"][..], &hidden].concat());
            let error = compare(&logits, &outputs[0].1);
            assert!(error <= TOLERANCE, "logits by {name} are off by {error:e}");
            assert_eq!(run(&graph.answer(), &weights, &inputs).unwrap(), outputs[..1]);
        }
    }
}

#[test]
fn images_of_a_batch_do_not_touch_one_another() {
    let graph = config(&crate::golden("vit")).graph(None).answer();
    let weights = checkpoint().weights(&graph, |_| Format::F32);
    let (inputs, logits) = io();
    let pixels = inputs[0].1.as_f32().unwrap();
    for (name, run) in EXECUTORS {
        for (index, image) in pixels.chunks(pixels.len() / 2).enumerate() {
            let one = Tensor::f32([1, 3, 32, 32], image.to_vec()).unwrap();
            let found = run(&graph, &weights, &[("pixel_values".to_owned(), one)]).unwrap().remove(0).1;
            let expected = Tensor::f32([1, 11], logits.as_f32().unwrap()[index * 11..][..11].to_vec()).unwrap();
            let error = compare(&expected, &found);
            assert!(error <= TOLERANCE, "image {index} by {name} is off by {error:e}");
        }
    }
}

#[test]
fn executors_agree_at_every_width() {
    let (inputs, _) = io();
    crate::agree_at_every_width("vit", &inputs);
}
