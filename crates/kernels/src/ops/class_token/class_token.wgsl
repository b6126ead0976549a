// A class token before the rows of a sequence, and a row of the position table added to each.
//
// A thread makes four columns of a row. Of a table that is larger than a binding, each dispatch has some rows, from
// `first_row` on, and makes those. Dispatch: workgroups over sequences · rows · ceil(columns / 4) in two dimensions.
// Constants: WG, BITS and GROUP of the table. Twin: reference.rs.

#permutation QUANTIZED ZEROS BITS=4 GROUP=32 WG=64
#permutation HALF BITS=16 GROUP=64 WG=128
#permutation SINGLE BITS=32 GROUP=64 WG=128

struct ClassTokenParams {
    positions: WeightParams,
    // Sequences.
    batch: u32,
    // Rows of an output sequence.
    seq: u32,
    hidden: u32,
    first_row: u32,
}

@group(0) @binding(0) var<uniform> params: ClassTokenParams;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<u32>;
#ifdef QUANTIZED
@group(0) @binding(3) var<storage, read> scales: array<u32>;
#endif
#ifdef ZEROS
@group(0) @binding(4) var<storage, read> zeros: array<u32>;
#endif
@group(0) @binding(5) var<storage, read> token: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;

#import weight

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = (group.y * groups.x + group.x) * WG + thread;
    let units = (params.hidden + 3u) / 4u;
    let column = index % units * 4u;
    let row = index / units % params.positions.rows;
    let sequence = index / units / params.positions.rows;
    if sequence >= params.batch {
        return;
    }
    let place = params.first_row + row;
    let position = weight4(row, column, params.positions);
    let source = (sequence * (params.seq - 1u) + place - 1u) * params.hidden + column;
    let made = (sequence * params.seq + place) * params.hidden + column;
    for (var i = 0u; i < min(4u, params.hidden - column); i++) {
        if place == 0u {
            y[made + i] = token[column + i] + position[i];
        } else {
            y[made + i] = x[source + i] + position[i];
        }
    }
}
