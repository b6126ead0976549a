// Four consecutive weights of a row, dequantized: scale * (code - zero).
// Layout: crates/common/src/quant (rows of 32-bit words, lowest bits first; scales f16, zero points u8).
// Wants: BITS; GROUP (columns that share a scale; a constant, so that dividing by it is cheap); the bindings `weight`, `scales` (BITS <= 8) and `zeros` (ZEROS); a struct `w` of WeightParams.
// Twin: QTensor::dequantize_row_into.

struct WeightParams {
    row_words: u32,
    group_size: u32,
    groups_per_row: u32,
    rows: u32,
}

#ifdef QUANTIZED
fn weight_scale(ix: u32) -> f32 {
    return unpack2x16float(scales[ix >> 1u])[ix & 1u];
}

fn weight_zero(ix: u32) -> f32 {
#ifdef ZEROS
    return f32((zeros[ix >> 2u] >> ((ix & 3u) * 8u)) & 0xffu);
#else
    return f32(1u << (BITS - 1u));
#endif
}
#endif

// `k` is a multiple of 4 and lies inside the padded row.
fn weight4(row: u32, k: u32, w: WeightParams) -> vec4<f32> {
    let first = row * w.row_words;
#ifdef QUANTIZED
    let word = weight[first + (k * BITS) / 32u];
    let codes = (vec4<u32>(word) >> (vec4<u32>(0u, BITS, 2u * BITS, 3u * BITS) + (k * BITS) % 32u)) & vec4<u32>((1u << BITS) - 1u);
    let ix = row * w.groups_per_row + select(0u, k / GROUP, w.groups_per_row > 1u);
    return (vec4<f32>(codes) - weight_zero(ix)) * weight_scale(ix);
#endif
#ifdef HALF
    let word = first + k / 2u;
    return vec4<f32>(unpack2x16float(weight[word]), unpack2x16float(weight[word + 1u]));
#endif
#ifdef SINGLE
    let word = first + k;
    return vec4<f32>(
        bitcast<f32>(weight[word]),
        bitcast<f32>(weight[word + 1u]),
        bitcast<f32>(weight[word + 2u]),
        bitcast<f32>(weight[word + 3u]),
    );
#endif
}
