// Gate: activation of the first half of a row's columns, times the second half.
//
// A thread makes four columns of a row. Dispatch: workgroups over rows · ceil(columns / 4) in two dimensions.
// Constants: ACTIVATION, WG; VEC4: columns are a multiple of 4. Twin: reference.rs.

#permutation ACTIVATION=4 WG=64
#permutation VEC4 ACTIVATION=3 WG=128

#import activation

struct GateParams {
    rows: u32,
    // Of the output: the input has twice as many.
    columns: u32,
    // Threads of a row.
    units: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: GateParams;
#ifdef VEC4
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
#else
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
#endif

#ifndef VEC4
fn x4(at: u32, count: u32) -> vec4<f32> {
    var out = vec4<f32>();
    for (var i = 0u; i < count; i++) { out[i] = x[at + i]; }
    return out;
}
#endif

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = (group.y * groups.x + group.x) * WG + thread;
    let row = index / params.units;
    let unit = index % params.units;
    if row >= params.rows {
        return;
    }
#ifdef VEC4
    let source = row * 2u * params.units + unit;
    y[index] = activate4(x[source]) * x[source + params.units];
#else
    let column = unit * 4u;
    let count = min(4u, params.columns - column);
    let source = row * 2u * params.columns + column;
    let out = activate4(x4(source, count)) * x4(source + params.columns, count);
    for (var i = 0u; i < count; i++) { y[row * params.columns + column + i] = out[i]; }
#endif
}
