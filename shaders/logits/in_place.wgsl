// Logits over which the output is written: one binding, which may be written, allows no second view.

const IN_PLACE: bool = true;

@group(0) @binding(1) var<storage, read_write> logits: array<u32>;

fn load_logit(index: u32) -> u32 {
    return widened(logits[index / LOGITS_PER_WORD], index % LOGITS_PER_WORD);
}

// Four values from an index that is a multiple of four on.
fn load_quad(index: u32) -> vec4<u32> {
    return vec4(load_logit(index), load_logit(index + 1u), load_logit(index + 2u), load_logit(index + 3u));
}

const OUTPUT_PER_WORD: u32 = LOGITS_PER_WORD;

fn load_output_word(word: u32) -> u32 {
    return logits[word];
}

fn store_output_word(word: u32, bits: u32) {
    logits[word] = bits;
}
