// Uses: element, logits

// Output over the logits, a word at a time.

const OUTPUT_PER_WORD: u32 = LOGITS_PER_WORD;

fn load_output_word(word: u32) -> u32 {
    return logits[word];
}

fn store_output_word(word: u32, bits: u32) {
    logits[word] = bits;
}
