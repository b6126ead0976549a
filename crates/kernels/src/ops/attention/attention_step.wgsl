// Attention of one query of a conversation: blocks of keys are shared out to workgroups, which attention_join.wgsl puts together.
//
// A workgroup takes one head of keys with the GROUP heads of queries that share it, and every params.shares-th block of BLOCK
// keys, a thread a key. The one that has the query's own position writes key and value there first. TURNED: the queries and the
// key are turned on the way, as rotary.wgsl does, INTERLEAVED likewise.
// A share is, for each head, D sums of values, then the largest score and the sum of what it made of the scores.
// Dispatch: (shares, kv heads, batch). Constants: D = head_dim, of which D / 4 divides BLOCK. Twin: reference.rs.

#permutation D=64 GROUP=3 BLOCK=128
#permutation TURNED D=16 GROUP=1 BLOCK=128
#permutation TURNED INTERLEAVED D=128 GROUP=8 BLOCK=128

#import step
#ifdef TURNED
#import turn
#endif

struct StepParams {
    heads: u32,
    kv_heads: u32,
    // Workgroups that share the keys of a head.
    shares: u32,
    scale: f32,
    // Elements from an item to the next, and the first of it.
    q_stride: u32,
    q_start: u32,
    k_stride: u32,
    k_start: u32,
    v_stride: u32,
    v_start: u32,
    // Elements of a state from a block to the next.
    block_stride: u32,
    pairs: u32,
    // For each pair, from a position to the next: 2^-32 of a turn.
    turns: array<vec4<u32>, 32>,
}

@group(0) @binding(0) var<uniform> params: StepParams;
@group(0) @binding(1) var<storage, read> step: Step;
@group(0) @binding(2) var<storage, read> q: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read_write> keys: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> values: array<vec4<f32>>;
#ifndef TURNED
@group(0) @binding(6) var<storage, read> k: array<f32>;
#endif
@group(0) @binding(7) var<storage, read_write> shares: array<f32>;

const D4: u32 = D / 4u;
// Threads that have the same columns of the values.
const ROWS: u32 = BLOCK / D4;
const SHARE: u32 = D + 2u;
const LEAST: f32 = -3.0e38;

var<workgroup> queries: array<vec4<f32>, GROUP * D4>;
var<workgroup> scores: array<f32, GROUP * BLOCK>;
var<workgroup> reduced: array<f32, GROUP * BLOCK>;
var<workgroup> sums: array<vec4<f32>, BLOCK>;

// A column of a head that begins at `base`, turned to the run's position.
#ifdef TURNED
fn turned(base: u32, column: u32) -> f32 {
    if column >= 2u * params.pairs {
        return q[base + column];
    }
#ifdef INTERLEAVED
    let pair = column / 2u;
    let second = (column & 1u) == 1u;
    let partner = column ^ 1u;
#else
    let second = column >= params.pairs;
    let pair = select(column, column - params.pairs, second);
    let partner = select(column + params.pairs, pair, second);
#endif
    let angle = cos_sin(step.past * params.turns[pair / 4u][pair % 4u]);
    let other = q[base + partner] * angle.y;
    return q[base + column] * angle.x + select(-other, other, second);
}

fn query(base: u32, column: u32) -> f32 { return turned(base, column); }
fn key(base: u32, column: u32) -> f32 { return turned(base, column); }
#else
fn query(base: u32, column: u32) -> f32 { return q[base + column]; }
fn key(base: u32, column: u32) -> f32 { return k[base + column]; }
#endif

fn query4(base: u32, column: u32) -> vec4<f32> {
    return vec4<f32>(query(base, column), query(base, column + 1u), query(base, column + 2u), query(base, column + 3u));
}

fn key4(base: u32, column: u32) -> vec4<f32> {
    return vec4<f32>(key(base, column), key(base, column + 1u), key(base, column + 2u), key(base, column + 3u));
}

// Keys and values of the run's own position, where its block is this workgroup's.
fn write_own(thread: u32, head: u32, item: u32, at: u32) {
    let base = item * params.k_stride + params.k_start + head * D;
    keys[at] = key4(base, thread * 4u);
    let from_value = item * params.v_stride + params.v_start + head * D + thread * 4u;
    values[at] = vec4<f32>(v[from_value], v[from_value + 1u], v[from_value + 2u], v[from_value + 3u]);
}

// The largest of each head's numbers in `reduced`, at its first place.
fn reduce_largest(thread: u32) {
    workgroupBarrier();
    for (var stride = BLOCK / 2u; stride > 0u; stride /= 2u) {
        if thread < stride {
            for (var r = 0u; r < GROUP; r++) {
                let at = r * BLOCK + thread;
                reduced[at] = max(reduced[at], reduced[at + stride]);
            }
        }
        workgroupBarrier();
    }
}

@compute @workgroup_size(BLOCK)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let head = group.y;
    let item = group.z;
    let past = step.past;
    let own = past / BLOCK;
    if group.x > own {
        return;
    }
    for (var i = thread; i < GROUP * D4; i += BLOCK) {
        let base = item * params.q_stride + params.q_start + (head * GROUP + i / D4) * D;
        queries[i] = query4(base, (i % D4) * 4u) * params.scale;
    }
    let head_at = (item * params.kv_heads + head) * BLOCK;
    if own % params.shares == group.x && thread < D4 {
        write_own(thread, head, item, own * (params.block_stride / 4u) + (head_at + past % BLOCK) * D4 + thread);
    }
    storageBarrier();
    workgroupBarrier();
    let column = thread % D4;
    let row = thread / D4;
    var largest: array<f32, GROUP>;
    var weights: array<f32, GROUP>;
    var made: array<vec4<f32>, GROUP>;
    for (var r = 0u; r < GROUP; r++) {
        largest[r] = LEAST;
    }
    for (var block = group.x; block <= own; block += params.shares) {
        let block_at = block * (params.block_stride / 4u) + head_at * D4;
        // Keys of the block that count.
        let count = min(BLOCK, past + 1u - block * BLOCK);
        var products: array<f32, GROUP>;
        for (var d = 0u; d < D4; d++) {
            let k4 = keys[block_at + thread * D4 + d];
            for (var r = 0u; r < GROUP; r++) {
                products[r] += dot(queries[r * D4 + d], k4);
            }
        }
        for (var r = 0u; r < GROUP; r++) {
            products[r] = select(LEAST, products[r], thread < count);
            reduced[r * BLOCK + thread] = products[r];
        }
        reduce_largest(thread);
        for (var r = 0u; r < GROUP; r++) {
            let top = max(largest[r], reduced[r * BLOCK]);
            let kept = exp(largest[r] - top);
            made[r] *= kept;
            weights[r] *= kept;
            largest[r] = top;
            scores[r * BLOCK + thread] = exp(products[r] - top);
        }
        workgroupBarrier();
        for (var j = row; j < count; j += ROWS) {
            let v4 = values[block_at + j * D4 + column];
            for (var r = 0u; r < GROUP; r++) {
                let weight = scores[r * BLOCK + j];
                made[r] += weight * v4;
                weights[r] += weight;
            }
        }
        workgroupBarrier();
    }
    for (var r = 0u; r < GROUP; r++) {
        sums[thread] = made[r];
        reduced[thread] = weights[r];
        workgroupBarrier();
        let share = ((item * params.shares + group.x) * params.heads + head * GROUP + r) * SHARE;
        if thread < D4 {
            var sum = vec4<f32>();
            var weight = 0.0;
            for (var i = thread; i < BLOCK; i += D4) {
                sum += sums[i];
                weight += reduced[i];
            }
            for (var i = 0u; i < 4u; i++) {
                shares[share + thread * 4u + i] = sum[i];
            }
            if thread == 0u {
                shares[share + D] = largest[r];
                shares[share + D + 1u] = weight;
            }
        }
        workgroupBarrier();
    }
}
