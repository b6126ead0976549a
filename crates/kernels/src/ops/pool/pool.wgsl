// One vector a sequence: mean or maximum over the tokens that the mask keeps, or the first or last token; then its norm.
//
// A workgroup a sequence. A sequence with no token left gives zeros.
// Dispatch: (batch, 1, 1). Constants: WG, POOLING (0 mean, 1 first token, 2 maximum, 3 last token), MASK, NORMALIZE. Twin: reference.rs.

#permutation MASK NORMALIZE POOLING=0 WG=128
#permutation MASK NORMALIZE SUBGROUPS POOLING=2 WG=128
#permutation POOLING=1 WG=64
#permutation POOLING=3 WG=64

#ifdef SUBGROUPS
enable subgroups;
#endif

struct PoolParams {
    seq: u32,
    hidden: u32,
    batch: u32,
    mask_start: u32,
}

@group(0) @binding(0) var<uniform> params: PoolParams;
@group(0) @binding(1) var<storage, read> x: array<f32>;
#ifdef MASK
@group(0) @binding(2) var<storage, read> mask: array<u32>;
#endif
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

#ifdef NORMALIZE
#import reduce
#endif

fn pooled(batch: u32, col: u32) -> f32 {
    let first = batch * params.seq * params.hidden + col;
    if POOLING == 1u {
        return x[first];
    }
    if POOLING == 3u {
        return x[first + (params.seq - 1u) * params.hidden];
    }
    var sum = 0.0;
    var count = 0.0;
    var top = -3.0e38;
    for (var s = 0u; s < params.seq; s++) {
#ifdef MASK
        if mask[params.mask_start + batch * params.seq + s] == 0u { continue; }
#endif
        let value = x[first + s * params.hidden];
        sum += value;
        top = max(top, value);
        count += 1.0;
    }
    if count == 0.0 {
        return 0.0;
    }
    return select(sum / count, top, POOLING == 2u);
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
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
    let batch = group.x;
    let first = batch * params.hidden;
    var squares = 0.0;
    for (var col = thread; col < params.hidden; col += WG) {
        let value = pooled(batch, col);
        squares += value * value;
        y[first + col] = value;
    }
#ifdef NORMALIZE
    let norm = max(sqrt(workgroup_sum(squares, thread)), 1e-12);
    for (var col = thread; col < params.hidden; col += WG) {
        y[first + col] = y[first + col] / norm;
    }
#endif
}
