// Rotary positions: pairs of columns of each head, turned by position times the pair's frequency.
//
// A thread turns a pair, or copies a column behind the pairs. `x` and `y` may be bound from a row on, at `first_row`.
// Dispatch: workgroups over rows · heads · units in two dimensions. Constants: WG; INTERLEAVED: columns 2i and 2i + 1 are a
// pair, and not i and pairs + i; CONTINUES: positions count from the conversation's past on. Twin: reference.rs.

#permutation WG=128
#permutation INTERLEAVED CONTINUES WG=64

#ifdef CONTINUES
#import step
#endif
#import turn

struct RotaryParams {
    // Rows that are bound, the number of the first one, and how many a sequence has.
    rows: u32,
    first_row: u32,
    seq: u32,
    // Elements from a row of the input to the next, and its first column.
    stride: u32,
    start: u32,
    heads: u32,
    head_dim: u32,
    pairs: u32,
    // For each pair, from a position to the next: 2^-32 of a turn.
    turns: array<vec4<u32>, 32>,
}

@group(0) @binding(0) var<uniform> params: RotaryParams;
@group(0) @binding(1) var<storage, read> x: array<f32>;
#ifdef CONTINUES
@group(0) @binding(2) var<storage, read> step: Step;
#endif
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

fn past() -> u32 {
#ifdef CONTINUES
    return step.past;
#else
    return 0u;
#endif
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = (group.y * groups.x + group.x) * WG + thread;
    // Pairs, and columns behind them.
    let units = params.head_dim - params.pairs;
    let row = index / (units * params.heads);
    if row >= params.rows {
        return;
    }
    let head = (index / units) % params.heads;
    let unit = index % units;
    let source = row * params.stride + params.start + head * params.head_dim;
    let made = (row * params.heads + head) * params.head_dim;
    if unit >= params.pairs {
        y[made + params.pairs + unit] = x[source + params.pairs + unit];
        return;
    }
    let position = past() + (params.first_row + row) % params.seq;
    let turned = cos_sin(position * params.turns[unit / 4u][unit % 4u]);
#ifdef INTERLEAVED
    let first = 2u * unit;
    let second = first + 1u;
#else
    let first = unit;
    let second = params.pairs + unit;
#endif
    let a = x[source + first];
    let b = x[source + second];
    y[made + first] = a * turned.x - b * turned.y;
    y[made + second] = b * turned.x + a * turned.y;
}
