// Activations by number, as in plan::activation_code. ACTIVATION is a constant, so that the others fold away.
// Twin: reference::activation.

// Abramowitz and Stegun 7.1.26 has an absolute error of 1.5e-7.
fn erf4(x: vec4<f32>) -> vec4<f32> {
    let a = abs(x);
    let t = 1.0 / (1.0 + 0.3275911 * a);
    let poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(x) * (1.0 - poly * exp(-a * a));
}

// Beyond 9 tanh is 1 in f32, and exp would overflow on some drivers.
fn tanh4(x: vec4<f32>) -> vec4<f32> {
    return tanh(clamp(x, vec4<f32>(-9.0), vec4<f32>(9.0)));
}

fn activate4(x: vec4<f32>) -> vec4<f32> {
    switch ACTIVATION {
        case 1u: { return max(x, vec4<f32>(0.0)); }
        case 2u: { return 0.5 * x * (1.0 + erf4(x * 0.70710678)); }
        case 3u: { return 0.5 * x * (1.0 + tanh4(0.79788456 * (x + 0.044715 * x * x * x))); }
        case 4u: { return x / (1.0 + exp(-x)); }
        case 5u: { return tanh4(x); }
        default: { return x; }
    }
}
