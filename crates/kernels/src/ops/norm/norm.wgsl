// Normalization of rows: (x - mean) / sqrt(variance + eps) * weight + bias. With RMS nothing is taken from them: the mean is 0,
// and the variance their mean square.
//
// A workgroup a row. The variance is taken around the mean in a second pass: the one-pass formula loses all its digits where
// the mean is large. Dispatch: (rows mod 65535, ceil(rows / 65535), 1). Constants: WG; RMS; BIAS. Twin: reference.rs.

#permutation BIAS WG=128
#permutation BIAS SUBGROUPS WG=256
#permutation RMS WG=128
#permutation RMS BIAS SUBGROUPS WG=256

#ifdef SUBGROUPS
enable subgroups;
#endif

struct NormParams {
    rows: u32,
    hidden: u32,
    eps: f32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: NormParams;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
#ifdef BIAS
@group(0) @binding(3) var<storage, read> bias: array<f32>;
#endif
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

#import reduce

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
    let row = group.y * groups.x + group.x;
    if row >= params.rows {
        return;
    }
    let first = row * params.hidden;
#ifdef RMS
    let mean = 0.0;
#else
    var sum = 0.0;
    for (var i = thread; i < params.hidden; i += WG) {
        sum += x[first + i];
    }
    let mean = workgroup_sum(sum, thread) / f32(params.hidden);
#endif
    var squares = 0.0;
    for (var i = thread; i < params.hidden; i += WG) {
        let d = x[first + i] - mean;
        squares += d * d;
    }
    let variance = workgroup_sum(squares, thread) / f32(params.hidden);
    let rstd = inverseSqrt(variance + params.eps);
    for (var i = thread; i < params.hidden; i += WG) {
        let scaled = (x[first + i] - mean) * rstd * weight[i];
#ifdef BIAS
        y[first + i] = scaled + bias[i];
#else
        y[first + i] = scaled;
#endif
    }
}
