// Finds NaN and infinity in an output, so that it need not be read to be checked.
//
// Bits are looked at and not values: compilers may take every float for finite. Of each kind the first place is kept, as
// the largest distance from the end of all indices, so that memory of zeros says that there is none.
// Each thread looks at every params.threads-th element. Dispatch: (threads / WG, 1, 1).

#permutation WG=256

struct FiniteParams {
    // Elements that are bound.
    count: u32,
    // Threads of the dispatch.
    threads: u32,
    // Index in the output of the first of them.
    first: u32,
    // Word of `found` at which the output's begin: how many there are, then the first NaN, infinity and −infinity.
    place: u32,
}

@group(0) @binding(0) var<uniform> params: FiniteParams;
@group(0) @binding(1) var<storage, read> bits: array<u32>;
@group(0) @binding(2) var<storage, read_write> found: array<atomic<u32>>;

const EXPONENT: u32 = 0x7f800000u;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    for (var i = id.x; i < params.count; i += params.threads) {
        let element = bits[i];
        if (element & EXPONENT) == EXPONENT {
            var kind = 1u;
            if element == EXPONENT {
                kind = 2u;
            } else if element == (EXPONENT | 0x80000000u) {
                kind = 3u;
            }
            atomicAdd(&found[params.place], 1u);
            atomicMax(&found[params.place + kind], 0xffffffffu - (params.first + i));
        }
    }
}
