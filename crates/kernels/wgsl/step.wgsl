// Where a conversation is, for kernels that read a step buffer: it changes from run to run while the recording stays.
// Bind it as storage: a kernel that chooses a token may advance it itself.

struct Step {
    // Positions that are in the states already: the run's own begin there.
    past: u32,
    // The token that was chosen last.
    token: u32,
    // Runs since the conversation began, which a generator of random numbers counts by.
    count: u32,
    // Not 0 once nothing more is to be computed.
    done: u32,
}
