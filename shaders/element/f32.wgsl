// Uses: row_span

// f32 logits: one value per word.

const LOGITS_PER_WORD: u32 = 1u;
alias Quad = vec4<u32>; // the words of four values

fn widened(word: u32, at: u32) -> u32 {
    return word;
}

fn widened_quad(words: Quad) -> vec4<u32> {
    return words;
}

fn storable(pair: QuadPair) -> QuadPair {
    return pair;
}

fn narrowed_quad(bits: vec4<u32>) -> Quad {
    return bits;
}
