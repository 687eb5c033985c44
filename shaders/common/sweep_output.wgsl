// Uses: params, seat, element, row_span, score, scores, gradient, output, store, the pass

// The second sweep over a row computes every value of the output from the score at the same place. The pass supplies
// `output_quad(bits of four scores, span, first column, record)` and `finished_pack`, which finishes a pack, and says whether
// a row's values `may_be_nan`. A row whose values are all the same is filled instead, without reading its logits.
//
// A lane writes whole words, so that no two lanes share one. Rows of 16-bit output begin at even places; if a row ends
// in the middle of a word, the other half is kept.

override ALIKE: bool;       // the output begins at the same place within its packs as the logits within theirs
override WHOLE_WORDS: bool; // rows begin and end on whole words of packs, and whole packs are within the array

// The span of the row in the output: cut by the rules for the logits, but from its own start.
fn output_span(span: RowSpan) -> RowSpan {
    return span_from(span.row, span.segment, row_start(span.row, params.output_base, params.row_stride));
}

// Writes the values of one output word, or of one column if rows lie side by side.
fn store_word(out: RowSpan, col: u32, first: u32, second: u32) {
    let index = out.start + col_offset(col);
    if OUTPUT_PER_WORD == 1u {
        store_output_word(index, first);
    } else {
        let word = index / 2u;
        let both = narrowed_quad(storable(QuadPair(vec4(first, second, 0u, 0u), vec4(0u))).a).x;
        var upper = both;
        if col + 1u >= params.cols {
            upper = load_output_word(word);
        }
        store_output_word(word, (both & 0xffffu) | (upper & 0xffff0000u));
    }
}

fn store_words(out: RowSpan, col: u32, quad: vec4<u32>) {
    if OUTPUT_PER_WORD == 1u {
        store_word(out, col, quad.x, 0u);
        store_word(out, col + 1u, quad.y, 0u);
        store_word(out, col + 2u, quad.z, 0u);
        store_word(out, col + 3u, quad.w, 0u);
    } else {
        store_word(out, col, quad.x, quad.y);
        store_word(out, col + 2u, quad.z, quad.w);
    }
}

// A whole pack, word by word.
fn store_pack_words(out: RowSpan, pack: u32, pair: QuadPair) {
    let col = pack_col(out, pack);
    store_words(out, col, pair.a);
    if PACKED {
        store_words(out, col + 4u, pair.b);
    }
}

fn output_pack(scores: QuadPair, span: RowSpan, pack: u32, record: Record) -> QuadPair {
    let col = pack_col(span, pack);
    var pair = QuadPair(output_quad(scores.a, span, col, record), vec4(0u));
    if PACKED {
        pair.b = output_quad(scores.b, span, col + 4u, record);
    }
    return finished_pack(pair, span, pack, record);
}

// A pack that the row shares with its neighbours: word by word.
fn store_edge(out: RowSpan, pack: u32, pair: QuadPair) {
    let col = pack_col(out, pack);
    store_within(out, col, pair.a);
    if PACKED {
        store_within(out, col + 4u, pair.b);
    }
}

fn store_within(out: RowSpan, col: u32, quad: vec4<u32>) {
    if col < params.cols { store_word(out, col, quad.x, quad.y); }
    if OUTPUT_PER_WORD == 1u && col + 1u < params.cols { store_word(out, col + 1u, quad.y, 0u); }
    if col + 2u < params.cols { store_word(out, col + 2u, quad.z, quad.w); }
    if OUTPUT_PER_WORD == 1u && col + 3u < params.cols { store_word(out, col + 3u, quad.w, 0u); }
}

fn store_any(out: RowSpan, pack: u32, pair: QuadPair) {
    if WHOLE_WORDS {
        store_own_words(out, pack, pair);
    } else if is_whole(out, pack) {
        store_pack(out, pack, pair);
    } else {
        store_edge(out, pack, pair);
    }
}

fn sweep_output(span: RowSpan, lane: u32, record: Record) {
    let out = output_span(span);
    stores_nan = may_be_nan(record);
    if ALIKE {
        sweep_alike(span, out, lane, record);
    } else {
        sweep_apart(span, out, lane, record);
    }
    stores_nan = true;
}

// The sweep for an output whose packs match those of the logits. All loads of a step come before the first use of their
// values. (A loop over the packs of a step would keep its counter, and its loads apart, even where a compiler unrolls it.)
fn sweep_alike(span: RowSpan, out: RowSpan, lane: u32, record: Record) {
    let steps = full_steps(span);
    for (var step = 0u; STEPS && step < steps; step++) {
        let a = step_pack(span, step, lane);
        let b = a + LANES;
        let c = b + LANES;
        let d = c + LANES;
        let a_scores = score_pack(span, a);
        let b_scores = score_pack(span, b);
        var c_scores: QuadPair;
        var d_scores: QuadPair;
        if STEP_PACKS == 4u {
            c_scores = score_pack(span, c);
            d_scores = score_pack(span, d);
        }
        store_pack(out, a, output_pack(a_scores, span, a, record));
        store_pack(out, b, output_pack(b_scores, span, b, record));
        if STEP_PACKS == 4u {
            store_pack(out, c, output_pack(c_scores, span, c, record));
            store_pack(out, d, output_pack(d_scores, span, d, record));
        }
    }
    let rest = rest_packs(span);
    for (var i = lane; i < rest; i += LANES) {
        let pack = rest_pack(span, i);
        store_any(out, pack, output_pack(score_edge(span, pack), span, pack, record));
    }
}

// The sweep for an output whose packs do not match those of the logits; the logits are loaded one by one.
fn sweep_apart(span: RowSpan, out: RowSpan, lane: u32, record: Record) {
    for (var i = lane; i < all_packs(out); i += LANES) {
        let pack = nth_pack(out, i);
        let col = pack_col(out, pack);
        var scores = QuadPair(four_scores(span, col), vec4(0u));
        if PACKED {
            scores.b = four_scores(span, col + 4u);
        }
        store_any(out, pack, output_pack(scores, out, pack, record));
    }
}

// Four scores. For a column outside the row, this is some score of the row.
fn four_scores(span: RowSpan, col: u32) -> vec4<u32> {
    let cols = min(four_cols(col), vec4(params.cols - 1u));
    return vec4(score(span, cols.x), score(span, cols.y), score(span, cols.z), score(span, cols.w));
}

fn fill_output(span: RowSpan, lane: u32, bits: u32) {
    let out = output_span(span);
    for (var i = lane; i < all_packs(out); i += LANES) {
        store_any(out, nth_pack(out, i), QuadPair(vec4(bits), vec4(bits)));
    }
}
