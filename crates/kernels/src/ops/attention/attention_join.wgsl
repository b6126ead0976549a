// Puts together what attention_step.wgsl made of its shares of the keys.
//
// A thread makes a column. Dispatch: (ceil(heads · D / WG), batch, 1). Constants: D, BLOCK, WG. Twin: reference.rs.

#permutation D=64 BLOCK=128 WG=64

#import step

struct JoinParams {
    heads: u32,
    shares: u32,
}

@group(0) @binding(0) var<uniform> params: JoinParams;
@group(0) @binding(1) var<storage, read> step: Step;
@group(0) @binding(2) var<storage, read> shares: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

const SHARE: u32 = D + 2u;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let width = params.heads * D;
    if id.x >= width {
        return;
    }
    let head = id.x / D;
    // Those that had a block.
    let count = min(params.shares, step.past / BLOCK + 1u);
    var top = -3.0e38;
    for (var i = 0u; i < count; i++) {
        top = max(top, shares[((id.y * params.shares + i) * params.heads + head) * SHARE + D]);
    }
    var sum = 0.0;
    var weight = 0.0;
    for (var i = 0u; i < count; i++) {
        let share = ((id.y * params.shares + i) * params.heads + head) * SHARE;
        let kept = exp(shares[share + D] - top);
        sum += kept * shares[share + id.x % D];
        weight += kept * shares[share + D + 1u];
    }
    y[id.y * width + id.x] = sum / weight;
}
