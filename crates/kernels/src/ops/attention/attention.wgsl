// Scaled dot-product attention in one dispatch: softmax(q · kᵀ · scale, masked) · v.
//
// A workgroup makes BQ query rows of one head of one batch item. It walks the keys BK at a time with the running
// maximum and sum of an online softmax (Milakov and Gimelshein, 2018), so that scores never leave workgroup memory.
// Keys and values take turns in one tile. A row that has no key left gives zeros.
// Dispatch: (ceil(Sq / BQ), heads, batch). Constants: D (head width padded to a multiple of 4), BQ, BK (even), WG; MASK,
// VEC4 (starts, strides and head width are multiples of 4); GROUPED: GROUP neighbouring heads share keys and values; CAUSAL:
// a query sees no keys behind its own position; CACHE, which is causal: keys and values are a conversation's, in blocks of
// BLOCK positions as attention_cache.wgsl writes them. How many there are is read, so that one recording serves every step.
// Twin: reference.rs.

#permutation MASK VEC4 D=32 BQ=16 BK=32 WG=128
#permutation D=12 BQ=16 BK=32 WG=128
#permutation MASK GROUPED CAUSAL D=12 GROUP=2 BQ=16 BK=32 WG=128
#permutation VEC4 CAUSAL CACHE D=32 GROUP=1 BLOCK=128 BQ=16 BK=32 WG=128
#permutation GROUPED CAUSAL CACHE D=12 GROUP=3 BLOCK=128 BQ=16 BK=32 WG=128

#ifdef CACHE
#import step
#endif

struct AttentionParams {
    queries: u32,
    keys: u32,
    head_dim: u32,
    heads: u32,
    q_stride: u32,
    q_start: u32,
    // Of a state, from a block to the next, and where in a block the first item begins.
    k_stride: u32,
    k_start: u32,
    v_stride: u32,
    v_start: u32,
    scale: f32,
    // Element of the mask at which the first batch item begins: the mask is bound whole, since few of its rows are aligned.
    mask_start: u32,
}

@group(0) @binding(0) var<uniform> params: AttentionParams;
#ifdef VEC4
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;
#else
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
#endif
#ifdef MASK
@group(0) @binding(4) var<storage, read> mask: array<u32>;
#endif
#ifdef CACHE
// Read-only, so that what depends on it is uniform.
@group(0) @binding(4) var<storage, read> step: Step;
#endif

const D4: u32 = D / 4u;
// Rows of a tile lie one vec4 further apart than they are long, so that a column of rows meets different banks.
const ROW: u32 = D4 + 1u;
const OUT_UNITS: u32 = BQ * D4;
const OUT_PER_THREAD: u32 = (OUT_UNITS + WG - 1u) / WG;
// Far below any score, and finite: its difference to itself is 0 and not NaN.
const LOWEST: f32 = -3.0e38;

var<workgroup> q_tile: array<vec4<f32>, BQ * ROW>;
var<workgroup> kv_tile: array<vec4<f32>, BK * ROW>;
var<workgroup> scores: array<f32, BQ * BK>;
var<workgroup> row_max: array<f32, BQ>;
var<workgroup> row_rescale: array<f32, BQ>;

fn q4(row: u32, first: u32, col: u32) -> vec4<f32> {
    if row >= params.queries {
        return vec4<f32>();
    }
    let at = first + row * params.q_stride + col;
#ifdef VEC4
    return q[at / 4u];
#else
    var out = vec4<f32>();
    for (var i = 0u; i < min(4u, params.head_dim - col); i++) { out[i] = q[at + i]; }
    return out;
#endif
}

// Positions before the first query, how many keys there are, and the element at which a position of a head begins.
#ifdef CACHE
fn past() -> u32 {
    return step.past;
}
fn key_count() -> u32 {
    return step.past + params.queries;
}
fn place(position: u32, first: u32, block_stride: u32) -> u32 {
    return first + (position / BLOCK) * block_stride + (position % BLOCK) * params.head_dim;
}
#else
fn past() -> u32 {
    return 0u;
}
fn key_count() -> u32 {
    return params.keys;
}
fn place(position: u32, first: u32, stride: u32) -> u32 {
    return first + position * stride;
}
#endif

fn k4(row: u32, first: u32, col: u32) -> vec4<f32> {
    if row >= key_count() {
        return vec4<f32>();
    }
    let at = place(row, first, params.k_stride) + col;
#ifdef VEC4
    return k[at / 4u];
#else
    var out = vec4<f32>();
    for (var i = 0u; i < min(4u, params.head_dim - col); i++) { out[i] = k[at + i]; }
    return out;
#endif
}

fn v4(row: u32, first: u32, col: u32) -> vec4<f32> {
    // What lies behind may have been dropped, and be no number: it is not read, though its weight would be 0.
    if row >= key_count() {
        return vec4<f32>();
    }
    let at = place(row, first, params.v_stride) + col;
#ifdef VEC4
    return v[at / 4u];
#else
    var out = vec4<f32>();
    for (var i = 0u; i < min(4u, params.head_dim - col); i++) { out[i] = v[at + i]; }
    return out;
#endif
}

fn sum4(v: vec4<f32>) -> f32 {
    return v.x + v.y + v.z + v.w;
}

fn kept(batch: u32, key: u32) -> bool {
    if key >= key_count() {
        return false;
    }
#ifdef MASK
    return mask[params.mask_start + batch * params.keys + key] != 0u;
#else
    return true;
#endif
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let head = group.y;
    let batch = group.z;
    let q0 = group.x * BQ;
    let q_first = batch * params.queries * params.q_stride + params.q_start + head * params.head_dim;
#ifdef GROUPED
    let kv_head = head / GROUP;
#else
    let kv_head = head;
#endif
#ifdef CACHE
    let in_block = (batch * (params.heads / GROUP) + kv_head) * BLOCK * params.head_dim;
    let k_first = params.k_start + in_block;
    let v_first = params.v_start + in_block;
#else
    let k_first = batch * params.keys * params.k_stride + params.k_start + kv_head * params.head_dim;
    let v_first = batch * params.keys * params.v_stride + params.v_start + kv_head * params.head_dim;
#endif
#ifdef CAUSAL
    // Position of the first query, and how many keys the last one sees.
    let own = past() + q0;
    let keys = min(key_count(), own + BQ);
#else
    let keys = key_count();
#endif

    for (var i = thread; i < OUT_UNITS; i += WG) {
        q_tile[(i / D4) * ROW + i % D4] = q4(q0 + i / D4, q_first, (i % D4) * 4u) * params.scale;
    }
    if thread < BQ {
        row_max[thread] = LOWEST;
    }
    var acc: array<vec4<f32>, OUT_PER_THREAD>;
    // Sum of the weights of an output's row; threads of one row keep the same sum.
    var acc_sum: array<f32, OUT_PER_THREAD>;

    for (var key0 = 0u; key0 < keys; key0 += BK) {
        for (var i = thread; i < BK * D4; i += WG) {
            kv_tile[(i / D4) * ROW + i % D4] = k4(key0 + i / D4, k_first, (i % D4) * 4u);
        }
        workgroupBarrier();
        // A thread makes scores of 2 rows by 2 keys, half a tile apart, so that neighbours meet different banks.
        for (var i = thread; i < (BQ / 2u) * (BK / 2u); i += WG) {
            let row = i / (BK / 2u);
            let key = i % (BK / 2u);
            var s00 = vec4<f32>();
            var s01 = vec4<f32>();
            var s10 = vec4<f32>();
            var s11 = vec4<f32>();
            for (var d = 0u; d < D4; d++) {
                let qa = q_tile[row * ROW + d];
                let qb = q_tile[(row + BQ / 2u) * ROW + d];
                let ka = kv_tile[key * ROW + d];
                let kb = kv_tile[(key + BK / 2u) * ROW + d];
                s00 = qa * ka + s00;
                s01 = qa * kb + s01;
                s10 = qb * ka + s10;
                s11 = qb * kb + s11;
            }
            let keep_a = kept(batch, key0 + key);
            let keep_b = kept(batch, key0 + key + BK / 2u);
            let at = row * BK + key;
#ifdef CAUSAL
            let key_a = key0 + key;
            let key_b = key_a + BK / 2u;
            let own_a = own + row;
            let own_b = own_a + BQ / 2u;
            scores[at] = select(LOWEST, sum4(s00), keep_a && key_a <= own_a);
            scores[at + BK / 2u] = select(LOWEST, sum4(s01), keep_b && key_b <= own_a);
            scores[at + (BQ / 2u) * BK] = select(LOWEST, sum4(s10), keep_a && key_a <= own_b);
            scores[at + (BQ / 2u) * BK + BK / 2u] = select(LOWEST, sum4(s11), keep_b && key_b <= own_b);
#else
            scores[at] = select(LOWEST, sum4(s00), keep_a);
            scores[at + BK / 2u] = select(LOWEST, sum4(s01), keep_b);
            scores[at + (BQ / 2u) * BK] = select(LOWEST, sum4(s10), keep_a);
            scores[at + (BQ / 2u) * BK + BK / 2u] = select(LOWEST, sum4(s11), keep_b);
#endif
        }
        workgroupBarrier();
        // Values replace keys while the first threads look for the new maximum.
        for (var i = thread; i < BK * D4; i += WG) {
            kv_tile[(i / D4) * ROW + i % D4] = v4(key0 + i / D4, v_first, (i % D4) * 4u);
        }
        if thread < BQ {
            let before = row_max[thread];
            var top = before;
            for (var key = 0u; key < BK; key++) {
                top = max(top, scores[thread * BK + key]);
            }
            row_rescale[thread] = exp(before - top);
            row_max[thread] = top;
        }
        workgroupBarrier();
        for (var i = thread; i < BQ * BK; i += WG) {
            let score = scores[i];
            scores[i] = select(0.0, exp(score - row_max[i / BK]), score > LOWEST);
        }
        workgroupBarrier();
        for (var slot = 0u; slot < OUT_PER_THREAD; slot++) {
            let row = min((thread + slot * WG) / D4, BQ - 1u);
            acc[slot] *= row_rescale[row];
            acc_sum[slot] *= row_rescale[row];
        }
        for (var key = 0u; key < BK; key++) {
            for (var slot = 0u; slot < OUT_PER_THREAD; slot++) {
                let i = thread + slot * WG;
                let weight = scores[min(i / D4, BQ - 1u) * BK + key];
                acc_sum[slot] += weight;
                acc[slot] = vec4<f32>(weight) * kv_tile[key * ROW + i % D4] + acc[slot];
            }
        }
        workgroupBarrier();
    }

    let width = params.heads * params.head_dim;
    for (var slot = 0u; slot < OUT_PER_THREAD; slot++) {
        let i = thread + slot * WG;
        let row = q0 + i / D4;
        if i < OUT_UNITS && row < params.queries {
            let sum = acc_sum[slot];
            let out = select(vec4<f32>(), acc[slot] / max(sum, 1e-37), sum > 0.0);
            let col = (i % D4) * 4u;
            let at = (batch * params.queries + row) * width + head * params.head_dim + col;
#ifdef VEC4
            y[at / 4u] = out;
#else
            for (var c = 0u; c < min(4u, params.head_dim - col); c++) { y[at + c] = out[c]; }
#endif
        }
    }
}
