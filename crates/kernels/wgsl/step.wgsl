// Where a conversation is, for kernels that read a step buffer: it changes from run to run while the recording stays.
// Bind it as storage: a kernel that chooses a token may advance it itself.

struct Step {
    // Positions that are in the states already: the run's own begin there.
    past: u32,
    // Tokens of the text that were chosen before, which a generator of random numbers counts by.
    count: u32,
    // The token that was chosen last.
    token: u32,
    reserved: u32,
}
