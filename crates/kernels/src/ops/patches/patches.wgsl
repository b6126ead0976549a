// Patches: images cut into squares, each a row whose columns are channel, line, column.
//
// A thread makes an element. Dispatch: workgroups over images · squares · columns in two dimensions.
// Constants: WG. Twin: reference.rs.

#permutation WG=64

struct PatchesParams {
    // Elements of the output.
    count: u32,
    // Of an image.
    channels: u32,
    height: u32,
    width: u32,
    // Pixels of a square's side.
    size: u32,
    reserved0: u32,
    reserved1: u32,
    reserved2: u32,
}

@group(0) @binding(0) var<uniform> params: PatchesParams;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = (group.y * groups.x + group.x) * WG + thread;
    if index >= params.count {
        return;
    }
    let size = params.size;
    let columns = params.channels * size * size;
    let across = params.width / size;
    let squares = params.height / size * across;
    let column = index % columns;
    let row = index / columns;
    let square = row % squares;
    let channel = column / (size * size);
    let line = square / across * size + column / size % size;
    let place = square % across * size + column % size;
    y[index] = x[((row / squares * params.channels + channel) * params.height + line) * params.width + place];
}
