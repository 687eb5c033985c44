// Uses: nothing

// Readouts for which a lane sums nothing.

alias Readouts = u32;

const READOUT_WORDS: u32 = 0u;

fn no_readouts() -> Readouts {
    return 0u;
}

fn rebased_readouts(readouts: Readouts, old_base: f32, base: f32) -> Readouts {
    return 0u;
}

fn both_readouts(a: Readouts, b: Readouts, a_key: i32, b_key: i32) -> Readouts {
    return 0u;
}

fn put_readouts(at: u32, readouts: Readouts) {}

fn readouts_at(at: u32) -> Readouts {
    return 0u;
}

fn readout_words(readouts: Readouts) -> array<u32, 8> {
    return array<u32, 8>();
}

fn readouts_of(words: array<u32, 8>) -> Readouts {
    return 0u;
}
