// Uses: params, pack, row_span

// Stores only the row's own words of a pack that it shares with its neighbours.

const WORD_VALUES: u32 = PACK_VALUES / PACK_WORDS;

fn store_own_words(out: RowSpan, pack: u32, pair: QuadPair) {
    let at = out.origin + pack;
    let col = pack_col(out, pack);
    let words = packed(pair);
    if col < params.cols { put_word(at, 0u, words[0u]); }
    if col + WORD_VALUES < params.cols { put_word(at, 1u, words[1u]); }
    if PACK_WORDS == 4u {
        if col + 2u * WORD_VALUES < params.cols { put_word(at, PACK_WORDS - 2u, words[PACK_WORDS - 2u]); }
        if col + 3u * WORD_VALUES < params.cols { put_word(at, PACK_WORDS - 1u, words[PACK_WORDS - 1u]); }
    }
}
