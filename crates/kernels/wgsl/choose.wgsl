// Chooses the next token by the scores of all, where they are: one workgroup reads them as often as it needs.
//
// Without DRAW it is the one with the largest score, of equal ones the first. With DRAW noise of Gumbel's distribution is added
// to the scores of those that are drawn from, and the largest is a draw by their softmax; which these are, a threshold says:
// the score of the k-th likeliest, and that at which the likeliest have the wanted mass of all. It is found four bits at a
// time, sums in a fixed order, so that a seed draws the same every time.
// A score that is not finite chooses NO_TOKEN. Dispatch: (1, 1, 1). Constants: WG, a power of two.
// Twin: models/src/generate/sampler.rs.

#permutation WG=256
#permutation DRAW WG=128

#import step

struct ChooseParams {
    // Scores.
    count: u32,
}

struct Sampling {
    // Divides the scores.
    temperature: f32,
    // Draw from that many of the likeliest; 0 for all.
    top_k: u32,
    // Draw from the likeliest up to that probability in all.
    top_p: f32,
    // Draw from those at least that likely, relative to the likeliest.
    min_p: f32,
    // Divides positive scores of tokens that were there before, multiplies negative ones.
    repetition_penalty: f32,
    seed_low: u32,
    seed_high: u32,
}

@group(0) @binding(0) var<uniform> params: ChooseParams;
// Bits and not values are looked at for what is not finite: compilers may take every float for finite.
@group(0) @binding(1) var<storage, read> scores: array<u32>;
@group(0) @binding(2) var<storage, read> sampling: Sampling;
// A bit for each token that was there before.
@group(0) @binding(3) var<storage, read_write> seen: array<u32>;
@group(0) @binding(4) var<storage, read_write> step: Step;

const NO_TOKEN: u32 = 0xffffffffu;
const EXPONENT: u32 = 0x7f800000u;
const LEAST: f32 = -3.4028234e38;

var<workgroup> best_scores: array<f32, WG>;
var<workgroup> best_tokens: array<u32, WG>;

// Keskar et al., "CTRL" (2019).
fn score(token: u32) -> f32 {
    let value = bitcast<f32>(scores[token]);
    if sampling.repetition_penalty == 1.0 || (seen[token / 32u] & (1u << (token % 32u))) == 0u {
        return value;
    }
    return select(value * sampling.repetition_penalty, value / sampling.repetition_penalty, value > 0.0);
}

// Leaves the largest score of all threads, of equal ones the one of the smallest token, at place 0.
fn reduce_best(thread: u32, best: f32, token: u32) {
    best_scores[thread] = best;
    best_tokens[thread] = token;
    workgroupBarrier();
    for (var stride = WG / 2u; stride > 0u; stride /= 2u) {
        if thread < stride {
            let other = best_scores[thread + stride];
            let other_token = best_tokens[thread + stride];
            let mine = best_scores[thread];
            if other > mine || (other == mine && other_token < best_tokens[thread]) {
                best_scores[thread] = other;
                best_tokens[thread] = other_token;
            }
        }
        workgroupBarrier();
    }
}

#ifdef DRAW
const BINS: u32 = 16u;
// Of each digit a place for each thread.
var<workgroup> bins: array<f32, BINS * WG>;

// pcg4d of Jarzynski and Olano, "Hash Functions for GPU Rendering" (JCGT 9(3), 2020).
fn hash(counters: vec4<u32>) -> u32 {
    var v = counters * 1664525u + 1013904223u;
    for (var round = 0u; round < 2u; round++) {
        v.x += v.y * v.w;
        v.y += v.z * v.x;
        v.z += v.x * v.y;
        v.w += v.y * v.z;
        v ^= select(vec4<u32>(), v >> vec4<u32>(16u), round == 0u);
    }
    return v.x;
}

// The smaller the uniform number, the larger the noise: near 0 numbers lie close together, and a series loses nothing there.
fn gumbel(token: u32) -> f32 {
    let bits = hash(vec4<u32>(sampling.seed_low, sampling.seed_high, step.count, token));
    let u = (f32(bits >> 9u) + 0.5) * (1.0 / 8388608.0);
    if u < 0.0625 {
        let series = 0.5 + u * (0.33333334 + u * (0.25 + u * (0.2 + u * (0.16666667 + u * 0.14285715))));
        return -log(u * (1.0 + u * series));
    }
    return -log(-log(1.0 - u));
}

// Keeps the order of the numbers.
fn key(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

// The largest key such that all from it on have the wanted mass together: each 1 where they are counted, else what the
// softmax has of them. 0 where all together have less.
fn threshold(thread: u32, wanted: f32, counts: bool, top: f32) -> u32 {
    var found = 0u;
    // Of the keys above those that begin as `found`.
    var above = 0.0;
    for (var digit = 0u; digit < 8u; digit++) {
        let shift = 28u - 4u * digit;
        for (var bin = 0u; bin < BINS; bin++) {
            bins[bin * WG + thread] = 0.0;
        }
        for (var token = thread; token < params.count; token += WG) {
            let value = (score(token) - top) / sampling.temperature;
            let from_found = key(value) - found;
            // Twice, since a shift by 32 bits is none.
            if key(value) >= found && ((from_found >> shift) >> 4u) == 0u {
                bins[(from_found >> shift) * WG + thread] += select(exp(value), 1.0, counts);
            }
        }
        workgroupBarrier();
        for (var stride = WG / 2u; stride > 0u; stride /= 2u) {
            if thread < stride {
                for (var bin = 0u; bin < BINS; bin++) {
                    bins[bin * WG + thread] += bins[bin * WG + thread + stride];
                }
            }
            workgroupBarrier();
        }
        var bin = BINS - 1u;
        while bin > 0u && above + bins[bin * WG] < wanted {
            above += bins[bin * WG];
            bin -= 1u;
        }
        found += bin << shift;
        workgroupBarrier();
    }
    return found;
}

// The mass of all, as the softmax has it.
fn whole_mass(thread: u32, top: f32) -> f32 {
    var mass = 0.0;
    for (var token = thread; token < params.count; token += WG) {
        mass += exp((score(token) - top) / sampling.temperature);
    }
    bins[thread] = mass;
    workgroupBarrier();
    for (var stride = WG / 2u; stride > 0u; stride /= 2u) {
        if thread < stride {
            bins[thread] += bins[thread + stride];
        }
        workgroupBarrier();
    }
    let whole = bins[0];
    workgroupBarrier();
    return whole;
}
#endif

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) thread: u32) {
    var best = LEAST;
    var chosen = NO_TOKEN;
    var finite = true;
    for (var token = thread; token < params.count; token += WG) {
        finite = finite && (scores[token] & EXPONENT) != EXPONENT;
        let value = score(token);
        if value > best || chosen == NO_TOKEN {
            best = value;
            chosen = token;
        }
    }
    // No score is larger, and so no token is chosen.
    if !finite {
        best = -LEAST;
        chosen = NO_TOKEN;
    }
    reduce_best(thread, best, chosen);
#ifdef DRAW
    let top = best_scores[0];
    finite = best_tokens[0] != NO_TOKEN;
    workgroupBarrier();
    var least = 0u;
    if sampling.top_k > 0u && sampling.top_k < params.count {
        least = threshold(thread, f32(sampling.top_k), true, top);
    }
    if sampling.top_p < 1.0 {
        let wanted = sampling.top_p * whole_mass(thread, top);
        least = max(least, threshold(thread, wanted, false, top));
    }
    // The logarithm of 0 is not asked for.
    let least_value = select(LEAST, log(max(sampling.min_p, 1e-37)), sampling.min_p > 0.0);
    best = LEAST;
    chosen = NO_TOKEN;
    for (var token = thread; token < params.count; token += WG) {
        let value = (score(token) - top) / sampling.temperature;
        if key(value) >= least && value >= least_value {
            let noisy = value + gumbel(token);
            if noisy > best || chosen == NO_TOKEN {
                best = noisy;
                chosen = token;
            }
        }
    }
    reduce_best(thread, best, chosen);
#endif
    if thread == 0u {
#ifdef DRAW
        let token = select(NO_TOKEN, best_tokens[0], finite);
#else
        let token = best_tokens[0];
#endif
        step.token = token;
        if token < params.count {
            seen[token / 32u] |= 1u << (token % 32u);
        }
    }
}
