// Uses: nothing

// f32 output for logits of any type, a word at a time.

@group(0) @binding(3) var<storage, read_write> output: array<u32>;

const OUTPUT_PER_WORD: u32 = 1u;

fn load_output_word(word: u32) -> u32 {
    return output[word];
}

fn store_output_word(word: u32, bits: u32) {
    output[word] = bits;
}
