// Linear for few rows: a workgroup makes 4 outputs of one row, its threads share K.
//
// A tile would leave most of its rows empty. Dispatch: (ceil(N / 4), M, 1). Constants: WG. Twin: reference.rs.

#permutation QUANTIZED BIAS K_VEC4 N_VEC4 GROUP=32 BITS=4 ACTIVATION=3 WG=64
#permutation HALF RESIDUAL SUBGROUPS BITS=16 ACTIVATION=4 WG=128

#ifdef SUBGROUPS
enable subgroups;
#endif

#import linear
#import reduce

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
    let m = group.y;
    let n = group.x * 4u;
    var sums = vec4<f32>();
    for (var k = thread * 4u; k < params.k; k += WG * 4u) {
        let v = x4(m, k);
        sums += vec4<f32>(dot(v, w4(n, k)), dot(v, w4(n + 1u, k)), dot(v, w4(n + 2u, k)), dot(v, w4(n + 3u, k)));
    }
    let total = vec4<f32>(
        workgroup_sum(sums.x, thread),
        workgroup_sum(sums.y, thread),
        workgroup_sum(sums.z, thread),
        workgroup_sum(sums.w, thread),
    );
    if thread == 0u {
        finish4(m, n, total);
    }
}
