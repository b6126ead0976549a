// Bindings and edges of the linear kernels: y = activation(x · weightᵀ + bias) + residual.
// K_VEC4 and N_VEC4 say that the inner and the outer width are multiples of 4, so that rows can be read by four.

struct LinearParams {
    weight: WeightParams,
    m: u32,
    n: u32,
    k: u32,
    // From a row of y to the next: y and the weight may be columns of a wider one.
    stride: u32,
}

@group(0) @binding(0) var<uniform> params: LinearParams;
#ifdef K_VEC4
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
#else
@group(0) @binding(1) var<storage, read> x: array<f32>;
#endif
@group(0) @binding(2) var<storage, read> weight: array<u32>;
#ifdef QUANTIZED
@group(0) @binding(3) var<storage, read> scales: array<u32>;
#endif
#ifdef ZEROS
@group(0) @binding(4) var<storage, read> zeros: array<u32>;
#endif
#ifdef BIAS
@group(0) @binding(5) var<storage, read> bias: array<f32>;
#endif
#ifdef N_VEC4
#ifdef RESIDUAL
@group(0) @binding(6) var<storage, read> residual: array<vec4<f32>>;
#endif
@group(0) @binding(8) var<storage, read_write> y: array<vec4<f32>>;
#else
#ifdef RESIDUAL
@group(0) @binding(6) var<storage, read> residual: array<f32>;
#endif
@group(0) @binding(8) var<storage, read_write> y: array<f32>;
#endif

#import weight
#import activation

// x[m, k..k+4], zero outside.
fn x4(m: u32, k: u32) -> vec4<f32> {
    if m >= params.m || k >= params.k {
        return vec4<f32>();
    }
#ifdef K_VEC4
    return x[(m * params.k + k) / 4u];
#else
    let at = m * params.k + k;
    let left = params.k - k;
    var v = vec4<f32>(x[at], 0.0, 0.0, 0.0);
    if left > 1u { v.y = x[at + 1u]; }
    if left > 2u { v.z = x[at + 2u]; }
    if left > 3u { v.w = x[at + 3u]; }
    return v;
#endif
}

// weight[n, k..k+4], zero outside.
fn w4(n: u32, k: u32) -> vec4<f32> {
    if n >= params.n || k >= params.k {
        return vec4<f32>();
    }
    return weight4(n, k, params.weight);
}

// Bias, activation and residual of y[m, n..n+4], and the store.
fn finish4(m: u32, n: u32, sum: vec4<f32>) {
    if m >= params.m || n >= params.n {
        return;
    }
    var v = sum;
#ifdef N_VEC4
#ifdef BIAS
    v += vec4<f32>(bias[n], bias[n + 1u], bias[n + 2u], bias[n + 3u]);
#endif
    v = activate4(v);
    let at = (m * params.stride + n) / 4u;
#ifdef RESIDUAL
    v += residual[at];
#endif
    y[at] = v;
#else
    let count = min(4u, params.n - n);
#ifdef BIAS
    for (var i = 0u; i < count; i++) {
        v[i] += bias[n + i];
    }
#endif
    v = activate4(v);
    let at = m * params.stride + n;
    for (var i = 0u; i < count; i++) {
#ifdef RESIDUAL
        y[at + i] = v[i] + residual[at + i];
#else
        y[at + i] = v[i];
#endif
    }
#endif
}
