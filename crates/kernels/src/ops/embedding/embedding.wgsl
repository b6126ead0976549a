// Rows of the token, position and segment tables, summed, and their layer normalization.
//
// A workgroup a token. The token table has a binding of its own since it is large; all other planes lie in `aux`,
// each at a word offset of its own (0xffffffff: there is none). Table formats: TABLE_BITS, POSITION_BITS, TYPE_BITS.
// Of a table that is larger than a binding, each dispatch has some rows and makes the tokens whose rows they are. `y` may
// be bound from a sequence on, at `first_token`; ids and segments are bound whole.
// Dispatch: (tokens mod 65535, ceil(tokens / 65535), 1). Constants: WG, the bits, NORM. Twin: reference.rs.

#permutation AUX POSITIONS TYPES NORM WG=128 TABLE_BITS=16 POSITION_BITS=16 TYPE_BITS=16
#permutation AUX POSITIONS TYPES NORM SUBGROUPS WG=128 TABLE_BITS=8 POSITION_BITS=8 TYPE_BITS=8
#permutation WG=64 TABLE_BITS=32

#ifdef SUBGROUPS
enable subgroups;
#endif

struct Table {
    packed: u32,
    scales: u32,
    zeros: u32,
    row_words: u32,
    group_size: u32,
    groups_per_row: u32,
    rows: u32,
    first_row: u32,
}

struct EmbeddingParams {
    table: Table,
    positions: Table,
    types: Table,
    tokens: u32,
    seq: u32,
    hidden: u32,
    position_offset: u32,
    norm_weight: u32,
    norm_bias: u32,
    eps: f32,
    last_row: u32,
    first_token: u32,
    reserved0: u32,
    reserved1: u32,
    reserved2: u32,
}

@group(0) @binding(0) var<uniform> params: EmbeddingParams;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
#ifdef TYPES
@group(0) @binding(2) var<storage, read> token_types: array<u32>;
#endif
@group(0) @binding(3) var<storage, read> table: array<u32>;
#ifdef AUX
@group(0) @binding(4) var<storage, read> aux: array<u32>;
#endif
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

#import reduce

// One value of a 32-bit word of codes or floats.
fn lane_of(word: u32, col: u32, bits: u32) -> f32 {
    if bits == 32u {
        return bitcast<f32>(word);
    }
    if bits == 16u {
        return unpack2x16float(word)[col & 1u];
    }
    return f32((word >> ((col * bits) & 31u)) & ((1u << bits) - 1u));
}

#ifdef AUX
fn scaled(code: f32, t: Table, row: u32, col: u32, bits: u32) -> f32 {
    if bits > 8u {
        return code;
    }
    let ix = row * t.groups_per_row + select(0u, col / t.group_size, t.groups_per_row > 1u);
    let scale = unpack2x16float(aux[t.scales + (ix >> 1u)])[ix & 1u];
    var zero = f32(1u << (bits - 1u));
    if t.zeros != 0xffffffffu {
        zero = f32((aux[t.zeros + (ix >> 2u)] >> ((ix & 3u) * 8u)) & 0xffu);
    }
    return (code - zero) * scale;
}

fn aux_value(t: Table, row: u32, col: u32, bits: u32) -> f32 {
    let word = aux[t.packed + row * t.row_words + (col * bits) / 32u];
    return scaled(lane_of(word, col, bits), t, row, col, bits);
}
#endif

fn embedded(token: u32, row: u32, col: u32) -> f32 {
    let word = table[(row - params.table.first_row) * params.table.row_words + (col * TABLE_BITS) / 32u];
#ifdef AUX
    var v = scaled(lane_of(word, col, TABLE_BITS), params.table, row, col, TABLE_BITS);
#else
    var v = lane_of(word, col, TABLE_BITS);
#endif
#ifdef POSITIONS
    v += aux_value(params.positions, token % params.seq + params.position_offset, col, POSITION_BITS);
#endif
#ifdef TYPES
    v += aux_value(params.types, min(token_types[params.first_token + token], params.types.rows - 1u), col, TYPE_BITS);
#endif
    return v;
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
#ifdef SUBGROUPS
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(subgroup_size) size: u32,
#endif
) {
#ifdef SUBGROUPS
    reduce_lane = lane;
    reduce_size = size;
#endif
    let token = group.y * groups.x + group.x;
    if token >= params.tokens {
        return;
    }
    // An id outside the table reads its last row: the session refuses such ids before they get here.
    let row = min(ids[params.first_token + token], params.last_row);
    if row < params.table.first_row || row - params.table.first_row >= params.table.rows {
        return;
    }
    let first = token * params.hidden;
    var sum = 0.0;
    for (var i = thread; i < params.hidden; i += WG) {
        let v = embedded(token, row, i);
        sum += v;
        y[first + i] = v;
    }
#ifdef NORM
    // A thread reads back only what it wrote itself.
    let mean = workgroup_sum(sum, thread) / f32(params.hidden);
    var squares = 0.0;
    for (var i = thread; i < params.hidden; i += WG) {
        let d = y[first + i] - mean;
        squares += d * d;
    }
    let rstd = inverseSqrt(workgroup_sum(squares, thread) / f32(params.hidden) + params.eps);
    for (var i = thread; i < params.hidden; i += WG) {
        let weight = bitcast<f32>(aux[params.norm_weight + i]);
        let bias = bitcast<f32>(aux[params.norm_bias + i]);
        y[first + i] = (y[first + i] - mean) * rstd * weight + bias;
    }
#endif
}
