// Linear without workgroup memory: a thread makes 4 rows by 4 columns straight from storage.
//
// On a software adapter there is no faster memory to stage tiles in, and barriers cost a switch of every thread.
// Dispatch: (ceil(ceil(N / 4) / WG), ceil(M / 4), 1). Constants: WG. Twin: reference.rs.

#permutation QUANTIZED BIAS K_VEC4 N_VEC4 GROUP=128 BITS=4 ACTIVATION=2 WG=32
#permutation HALF RESIDUAL BITS=16 ACTIVATION=0 WG=32

#import linear

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let n = id.x * 4u;
    let m = id.y * 4u;
    if n >= params.n {
        return;
    }
    var acc0 = vec4<f32>();
    var acc1 = vec4<f32>();
    var acc2 = vec4<f32>();
    var acc3 = vec4<f32>();
    for (var k = 0u; k < params.k; k += 4u) {
        let w = mat4x4<f32>(w4(n, k), w4(n + 1u, k), w4(n + 2u, k), w4(n + 3u, k));
        acc0 += x4(m, k) * w;
        acc1 += x4(m + 1u, k) * w;
        acc2 += x4(m + 2u, k) * w;
        acc3 += x4(m + 3u, k) * w;
    }
    finish4(m, n, acc0);
    finish4(m + 1u, n, acc1);
    finish4(m + 2u, n, acc2);
    finish4(m + 3u, n, acc3);
}
