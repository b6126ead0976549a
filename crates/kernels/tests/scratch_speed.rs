#![cfg(target_arch = "wasm32")]
#![allow(missing_docs)]
use wasm_bindgen_test::*;
use webnibble_common::{graph::*, quant::*, tensor::Tensor, weights::*};
wasm_bindgen_test_configure!(run_in_dedicated_worker);
#[wasm_bindgen::prelude::wasm_bindgen]
extern "C" { #[wasm_bindgen(js_namespace = performance)] fn now() -> f64; }
fn graph(layers: usize) -> Graph {
    let (h, inner, heads) = (384, 1536, 12);
    let mut g = Graph::default();
    let mut x = g.input("x", webnibble_common::tensor::DType::F32, ["batch".into(), "seq".into(), h.into()]);
    for l in 0..layers {
        let mut lin = |g: &mut Graph, p: &str, x, n: usize, k: usize, a, r| { let w = g.weight(&format!("{l}{p}w"), [n, k], Role::Linear, &[]); let b = g.weight(&format!("{l}{p}b"), [n], Role::Vector, &[]); g.push(&format!("{l}{p}"), Op::Linear { x, weight: w, bias: Some(b), activation: a, residual: r }) };
        let qkv = lin(&mut g, "qkv", x, 3*h, h, Activation::Identity, None);
        let c = |i: usize| Columns { value: qkv, start: i*h };
        let at = g.push(&format!("{l}att"), Op::Attention { q: c(0), k: c(1), v: c(2), mask: None, heads, head_dim: h/heads, scale: 0.17 });
        let o = lin(&mut g, "o", at, h, h, Activation::Identity, Some(x));
        let nw = g.weight(&format!("{l}nw"), [h], Role::Vector, &[]); let nb = g.weight(&format!("{l}nb"), [h], Role::Vector, &[]);
        let x1 = g.push(&format!("{l}n1"), Op::LayerNorm { x: o, norm: Norm { weight: nw, bias: nb, eps: 1e-12 } });
        let up = lin(&mut g, "up", x1, inner, h, Activation::Gelu, None);
        let dn = lin(&mut g, "dn", up, h, inner, Activation::Identity, Some(x1));
        x = g.push(&format!("{l}n2"), Op::LayerNorm { x: dn, norm: Norm { weight: nw, bias: nb, eps: 1e-12 } });
    }
    g.output(x);
    g
}
#[wasm_bindgen_test]
fn speed() {
    let g = graph(6);
    let mut s = 1u64;
    let mut rnd = move || { s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407); ((s >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 0.1 };
    for bits in [Bits::B32, Bits::B16, Bits::B8, Bits::B4, Bits::B2] {
        let f = Format { bits, scheme: Scheme::Symmetric, granularity: Granularity::Group(128) };
        let w: WeightMap = g.weights.iter().map(|w| { let n: usize = w.shape.iter().product(); let v: Vec<f32> = (0..n).map(|_| rnd()).collect();
            (w.name.clone(), if w.shape.len() == 1 { WeightData::Vector(v) } else { WeightData::Matrix(Quantizer::for_format(f).quantize(&v, &w.shape).unwrap()) }) }).collect();
        for seq in [128, 16] {
        let x: Vec<f32> = (0..seq*384).map(|_| rnd()*10.0).collect();
        let inputs = [("x", Tensor::f32([1, seq, 384], x).unwrap())];
        let mut t: Vec<f64> = (0..12).map(|_| { let t = now(); webnibble_kernels::cpu::run(&g, &w, &inputs).unwrap(); now() - t }).collect();
        t.sort_by(f64::total_cmp);
        let mut per = std::collections::BTreeMap::new();
        let mut e = webnibble_kernels::cpu::Executor::new(&g, &w, &inputs).unwrap();
        for n in &g.nodes { let t = now(); e.step().unwrap(); *per.entry(n.op.name()).or_insert(0.0) += now() - t; }
        console_log!("{bits} seq {seq}: min {:.1} p50 {:.1} {per:?}", t[0], t[6]);
        }
    }
}
