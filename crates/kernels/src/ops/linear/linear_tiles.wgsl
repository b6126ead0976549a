// Linear by tiles: a workgroup makes BM × BN outputs.
//
// Few rows (a sentence) leave most multiprocessors idle when each tile walks all of K alone, so the workgroup is
// cut into SLICES: each walks every SLICES-th run of BK columns with its own tiles, and the partial sums meet in
// workgroup memory at the end. A thread keeps 4 × 4 sums; operands lie in workgroup memory as columns of four.
//
// Dispatch: (ceil(N / BN), ceil(M / BM), 1). Constants: BM, BN, BK (multiples of 4), SLICES. Twin: reference.rs.

#permutation QUANTIZED BIAS K_VEC4 N_VEC4 SLICED GROUP=32 BITS=4 ACTIVATION=2 BM=32 BN=32 BK=16 SLICES=4
#permutation QUANTIZED ZEROS RESIDUAL SLICED GROUP=32 BITS=2 ACTIVATION=0 BM=32 BN=32 BK=16 SLICES=4
#permutation QUANTIZED BIAS RESIDUAL K_VEC4 N_VEC4 GROUP=32 BITS=8 ACTIVATION=0 BM=64 BN=64 BK=16 SLICES=1
#permutation HALF BIAS K_VEC4 N_VEC4 SLICED F16 BITS=16 ACTIVATION=5 BM=32 BN=32 BK=32 SLICES=4
#permutation SINGLE SLICED BITS=32 ACTIVATION=1 BM=32 BN=32 BK=16 SLICES=4

#ifdef F16
enable f16;
alias tile4 = vec4<f16>;
#else
alias tile4 = vec4<f32>;
#endif

#import linear

const BM4: u32 = BM / 4u;
const BN4: u32 = BN / 4u;
const THREADS: u32 = BM4 * BN4;
const A_UNITS: u32 = BM4 * (BK / 4u);
const UNITS: u32 = A_UNITS + BN4 * (BK / 4u);
const UNITS_PER_THREAD: u32 = (UNITS + THREADS - 1u) / THREADS;
const A_SIZE: u32 = BM4 * BK;
const SLICE_SIZE: u32 = (BM4 + BN4) * BK;
const OUT4: u32 = BM * BN4;

var<workgroup> tiles: array<tile4, SLICES * SLICE_SIZE>;
#ifdef SLICED
#ifdef F16
var<workgroup> partials: array<vec4<f32>, SLICES * OUT4>;
#else
const_assert OUT4 <= SLICE_SIZE;
#endif

// Partial sums lie where the tiles were; half-precision tiles cannot hold them.
fn put_partial(at: u32, value: vec4<f32>) {
#ifdef F16
    partials[at] = value;
#else
    tiles[at] = value;
#endif
}

fn partial(at: u32) -> vec4<f32> {
#ifdef F16
    return partials[at];
#else
    return tiles[at];
#endif
}
#endif

// A unit is 4 rows by 4 columns of the input or of the weight, turned on its side for workgroup memory.
fn fetch(unit: u32, m0: u32, n0: u32, k0: u32) -> mat4x4<f32> {
    if unit < A_UNITS {
        let m = m0 + (unit % BM4) * 4u;
        let k = k0 + (unit / BM4) * 4u;
        return transpose(mat4x4<f32>(x4(m, k), x4(m + 1u, k), x4(m + 2u, k), x4(m + 3u, k)));
    }
    let n = n0 + ((unit - A_UNITS) % BN4) * 4u;
    let k = k0 + ((unit - A_UNITS) / BN4) * 4u;
    return transpose(mat4x4<f32>(w4(n, k), w4(n + 1u, k), w4(n + 2u, k), w4(n + 3u, k)));
}

fn stash(unit: u32, base: u32, t: mat4x4<f32>) {
    let of_a = unit < A_UNITS;
    let local = select(unit - A_UNITS, unit, of_a);
    let width = select(BN4, BM4, of_a);
    let at = base + select(A_SIZE, 0u, of_a) + (local / width) * 4u * width + local % width;
    tiles[at] = tile4(t[0]);
    tiles[at + width] = tile4(t[1]);
    tiles[at + 2u * width] = tile4(t[2]);
    tiles[at + 3u * width] = tile4(t[3]);
}

@compute @workgroup_size(SLICES * THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let slice = thread / THREADS;
    let lane = thread % THREADS;
    let m0 = group.y * BM;
    let n0 = group.x * BN;
    let tm = lane / BN4;
    let tn = lane % BN4;
    let a_base = slice * SLICE_SIZE;
    let b_base = a_base + A_SIZE;

    var acc0 = vec4<f32>();
    var acc1 = vec4<f32>();
    var acc2 = vec4<f32>();
    var acc3 = vec4<f32>();
    // The next tile's loads are under way while this one is multiplied.
    var next: array<mat4x4<f32>, UNITS_PER_THREAD>;
    for (var i = 0u; i < UNITS_PER_THREAD; i++) {
        next[i] = fetch(min(lane + i * THREADS, UNITS - 1u), m0, n0, slice * BK);
    }
    for (var run = 0u; run < params.k; run += SLICES * BK) {
        for (var i = 0u; i < UNITS_PER_THREAD; i++) {
            // Where units do not divide, several threads write the same last one.
            stash(min(lane + i * THREADS, UNITS - 1u), a_base, next[i]);
        }
        workgroupBarrier();
        if run + SLICES * BK < params.k {
            for (var i = 0u; i < UNITS_PER_THREAD; i++) {
                next[i] = fetch(min(lane + i * THREADS, UNITS - 1u), m0, n0, run + (SLICES + slice) * BK);
            }
        }
        for (var k = 0u; k < BK; k++) {
            let a = vec4<f32>(tiles[a_base + k * BM4 + tm]);
            let b = vec4<f32>(tiles[b_base + k * BN4 + tn]);
            acc0 = vec4<f32>(a.x) * b + acc0;
            acc1 = vec4<f32>(a.y) * b + acc1;
            acc2 = vec4<f32>(a.z) * b + acc2;
            acc3 = vec4<f32>(a.w) * b + acc3;
        }
        workgroupBarrier();
    }

#ifdef SLICED
    let at = slice * OUT4 + tm * 4u * BN4 + tn;
    put_partial(at, acc0);
    put_partial(at + BN4, acc1);
    put_partial(at + 2u * BN4, acc2);
    put_partial(at + 3u * BN4, acc3);
    workgroupBarrier();
    for (var i = thread; i < OUT4; i += SLICES * THREADS) {
        var sum = partial(i);
        for (var s = 1u; s < SLICES; s++) {
            sum += partial(s * OUT4 + i);
        }
        finish4(m0 + i / BN4, n0 + (i % BN4) * 4u, sum);
    }
#else
    let m = m0 + tm * 4u;
    let n = n0 + tn * 4u;
    finish4(m, n, acc0);
    finish4(m + 1u, n, acc1);
    finish4(m + 2u, n, acc2);
    finish4(m + 3u, n, acc3);
#endif
}
