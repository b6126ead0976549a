// Linear for few rows: a team of threads makes one output of a row, its threads share K.
//
// A tile would leave most of its rows empty. NORM: x is what the root mean square is to be taken out of; its squares are summed
// beside the products, whose sum is divided at the end. GATE: the weight has as many rows again below the first N, and the
// output is the activation of the first times the second.
// Dispatch: ceil(N / teams) in x and z, M in y. Constants: K; TEAM, a power of two: threads of a team, with SUBGROUPS those of
// every subgroup; WG; EPSILON, as bits, with NORM. Twin: reference.rs.

#permutation QUANTIZED BIAS K_VEC4 GROUP=32 BITS=4 ACTIVATION=3 K=64 TEAM=32 WG=128
#permutation HALF RESIDUAL SUBGROUPS BITS=16 ACTIVATION=4 K=64 TEAM=32 WG=128
#permutation QUANTIZED ZEROS BIAS GATE NORM K_VEC4 GROUP=32 BITS=4 ACTIVATION=4 K=64 TEAM=16 WG=64 EPSILON=925353388
#permutation SINGLE GATE NORM SUBGROUPS BITS=32 ACTIVATION=4 K=63 TEAM=32 WG=64 EPSILON=925353388

#ifdef SUBGROUPS
enable subgroups;
#endif

#import linear

#ifdef NORM
#ifdef K_VEC4
@group(0) @binding(7) var<storage, read> norm_weight: array<vec4<f32>>;
#else
@group(0) @binding(7) var<storage, read> norm_weight: array<f32>;
#endif

fn norm4(k: u32) -> vec4<f32> {
#ifdef K_VEC4
    return norm_weight[k / 4u];
#else
    var v = vec4<f32>();
    for (var i = 0u; i < min(4u, K - k); i++) { v[i] = norm_weight[k + i]; }
    return v;
#endif
}
#endif

// Products with the rows of the weight, and squares of x.
alias Sums = vec3<f32>;

#ifdef SUBGROUPS
fn team_sum(sums: Sums, thread: u32) -> Sums {
    return subgroupAdd(sums);
}
#else
var<workgroup> team_scratch: array<Sums, WG>;

fn team_sum(sums: Sums, thread: u32) -> Sums {
    team_scratch[thread] = sums;
    workgroupBarrier();
    for (var step = TEAM / 2u; step > 0u; step /= 2u) {
        if thread % TEAM < step {
            team_scratch[thread] += team_scratch[thread + step];
        }
        workgroupBarrier();
    }
    return team_scratch[thread - thread % TEAM];
}
#endif

#ifdef QUANTIZED
// Columns of a word of codes.
const STEP: u32 = 32u / BITS;
#else
const STEP: u32 = 4u;
#endif

// Weights of a row at STEP columns from `k` on: a word of codes and what scales them, or the numbers.
struct Few {
#ifdef QUANTIZED
    word: u32,
    scale: f32,
    zero: f32,
#else
    values: vec4<f32>,
#endif
}

fn few(row: u32, k: u32) -> Few {
#ifdef QUANTIZED
    let w = params.weight;
    let ix = row * w.groups_per_row + select(0u, k / GROUP, w.groups_per_row > 1u);
    return Few(weight[row * w.row_words + k / STEP], weight_scale(ix), weight_zero(ix));
#else
    return Few(weight4(row, k, params.weight));
#endif
}

// Four of them, from column `j` on.
fn four(weights: Few, j: u32) -> vec4<f32> {
#ifdef QUANTIZED
    let shifts = vec4<u32>(0u, BITS, 2u * BITS, 3u * BITS) + j * BITS;
    let codes = (vec4<u32>(weights.word) >> shifts) & vec4<u32>((1u << BITS) - 1u);
    return (vec4<f32>(codes) - weights.zero) * weights.scale;
#else
    return weights.values;
#endif
}

fn finish(m: u32, n: u32, sums: Sums) {
    var v = vec4<f32>(sums.x, 0.0, 0.0, 0.0);
#ifdef BIAS
    v.x += bias[n];
#endif
    v = activate4(v);
#ifdef GATE
    var other = sums.y;
#ifdef BIAS
    other += bias[params.n + n];
#endif
    v.x *= other;
#endif
    let at = m * params.stride + n;
#ifdef RESIDUAL
    v.x += residual[at];
#endif
    y[at] = v.x;
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let m = group.y;
    let made = (group.z * groups.x + group.x) * (WG / TEAM) + thread / TEAM;
    // Every thread takes part in the sums.
    let n = min(made, params.n - 1u);
    var sums = Sums();
    for (var k = (thread % TEAM) * STEP; k < K; k += TEAM * STEP) {
        let weights = few(n, k);
#ifdef GATE
        let others = few(params.n + n, k);
#endif
        for (var j = 0u; j < STEP; j += 4u) {
            var v = x4(m, k + j);
#ifdef NORM
            sums.z += dot(v, v);
            if k + j < K {
                v *= norm4(k + j);
            }
#endif
            sums.x += dot(v, four(weights, j));
#ifdef GATE
            sums.y += dot(v, four(others, j));
#endif
        }
    }
    sums = team_sum(sums, thread);
#ifdef NORM
    sums *= inverseSqrt(sums.z / f32(K) + bitcast<f32>(EPSILON));
#endif
    if thread % TEAM == 0u && made < params.n {
        finish(m, n, sums);
    }
}
