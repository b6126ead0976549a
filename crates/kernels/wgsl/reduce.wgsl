// Sum over a workgroup of WG threads (a power of two), the same for every thread.
// SUBGROUPS adds inside subgroups first. `reduce_lane` and `reduce_size` are set by main from its builtins.
// Either way the order is fixed for a given subgroup size, so that a run gives the same bits every time.

var<workgroup> reduce_scratch: array<f32, WG>;
#ifdef SUBGROUPS
var<private> reduce_lane: u32;
var<private> reduce_size: u32;
#endif

fn workgroup_sum(value: f32, thread: u32) -> f32 {
#ifdef SUBGROUPS
    let part = subgroupAdd(value);
    if reduce_lane == 0u {
        reduce_scratch[thread / reduce_size] = part;
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < (WG + reduce_size - 1u) / reduce_size; i++) {
        sum += reduce_scratch[i];
    }
    workgroupBarrier();
    return sum;
#else
    reduce_scratch[thread] = value;
    workgroupBarrier();
    for (var step = WG / 2u; step > 0u; step /= 2u) {
        if thread < step {
            reduce_scratch[thread] += reduce_scratch[thread + step];
        }
        workgroupBarrier();
    }
    let sum = reduce_scratch[0];
    workgroupBarrier();
    return sum;
#endif
}
