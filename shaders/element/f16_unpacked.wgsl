// Uses: nothing

// Widens f16 by an instruction, where the adapter's floats are trusted.

fn widened_pair(word: u32) -> vec2<u32> {
    return bitcast<vec2<u32>>(unpack2x16float(word));
}
