// Writes keys and values of a run behind those of the conversation's past, where attention.wgsl with CACHE reads them.
//
// A state is blocks of BLOCK positions, each [batch, heads, BLOCK, head_dim]: where a position lies does not depend on how
// many there is room for. A thread copies one element of a key, and the one of the value beside it.
// Dispatch: (ceil(width / WG), positions, batch). Twin: exec/run.rs.

#permutation BLOCK=128 WG=64

#import step

struct CacheParams {
    // Positions of an item in this run.
    positions: u32,
    // Elements of a position: heads · head_dim.
    width: u32,
    head_dim: u32,
    k_stride: u32,
    k_start: u32,
    v_stride: u32,
    v_start: u32,
    // Elements from a block to the next.
    block_stride: u32,
    // Element of a block at which the first item begins that is bound.
    block_start: u32,
}

@group(0) @binding(0) var<uniform> params: CacheParams;
@group(0) @binding(1) var<storage, read> step: Step;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read_write> keys: array<f32>;
@group(0) @binding(5) var<storage, read_write> values: array<f32>;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let element = id.x;
    if element >= params.width {
        return;
    }
    let row = id.z * params.positions + id.y;
    let position = step.past + id.y;
    let head = id.z * (params.width / params.head_dim) + element / params.head_dim;
    let place = (head * BLOCK + position % BLOCK) * params.head_dim + element % params.head_dim;
    let at = params.block_start + (position / BLOCK) * params.block_stride + place;
    keys[at] = k[row * params.k_stride + params.k_start + element];
    values[at] = v[row * params.v_stride + params.v_start + element];
}
