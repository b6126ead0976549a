// Angles in turns of 2^32, so that position · frequency wraps as an angle does and nothing of it is lost however far the position
// is; sine and cosine are series, since WGSL promises of its own no more than 2^-11.

// Cosine and sine of so many 2^-32 of a turn. Quarters are taken off in whole numbers; what is left is at most an eighth.
fn cos_sin(angle: u32) -> vec2<f32> {
    let quarter = (angle + 0x20000000u) >> 30u;
    let a = f32(bitcast<i32>(angle - (quarter << 30u))) * 1.4629181e-9;
    let s = a * a;
    let sine = a * (1.0 + s * (-0.16666667 + s * (0.0083333333 + s * -0.0001984127)));
    let cosine = 1.0 + s * (-0.5 + s * (0.041666667 + s * (-0.0013888889 + s * 0.0000248016)));
    switch quarter {
        case 0u: { return vec2<f32>(cosine, sine); }
        case 1u: { return vec2<f32>(-sine, cosine); }
        case 2u: { return vec2<f32>(-cosine, -sine); }
        default: { return vec2<f32>(sine, -cosine); }
    }
}
