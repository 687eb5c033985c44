// The second sweep over a row: every value of the output from the score at its place. The pass supplies
// `output_bits(score's bits, span, column, record)`; a row without a value of its own is filled instead, its logits
// unread.
//
// A lane writes whole words, so that no two lanes share one: rows of 16-bit output begin at even places, and where they
// end in the middle of a word its other half is kept.

// The row in the output: like the logits', aligned by itself.
fn output_span(row: u32) -> RowSpan {
    return span_from(row, row_start(row, params.output_base, params.row_stride));
}

fn score_output(span: RowSpan, col: u32, record: Record) -> u32 {
    return output_bits(score(span, col), span, col, record);
}

// Writes the values of one output word, or of one column where rows lie side by side.
fn store_word(out: RowSpan, col: u32, first: u32, second: u32) {
    let index = out.start + col_offset(col);
    if OUTPUT_PER_WORD == 1u {
        store_output_word(index, first);
    } else {
        let word = index / 2u;
        var upper = narrowed(second) << 16u;
        if col + 1u >= params.cols {
            upper = load_output_word(word) & 0xffff0000u;
        }
        store_output_word(word, narrowed(first) | upper);
    }
}

fn store_quad(out: RowSpan, col: u32, a: u32, b: u32, c: u32, d: u32) {
    if OUTPUT_PER_WORD == 1u {
        store_word(out, col, a, 0u);
        store_word(out, col + 1u, b, 0u);
        store_word(out, col + 2u, c, 0u);
        store_word(out, col + 3u, d, 0u);
    } else {
        store_word(out, col, a, b);
        store_word(out, col + 2u, c, d);
    }
}

fn sweep_output(span: RowSpan, lane: u32, record: Record) {
    let out = output_span(span.row);
    // The tail's last word may have one value.
    let edges = (out.head + out.tail + OUTPUT_PER_WORD - 1u) / OUTPUT_PER_WORD;
    for (var i = lane; i < edges; i += LANES) {
        let col = edge_col(out, i * OUTPUT_PER_WORD);
        var second = 0u;
        if OUTPUT_PER_WORD == 2u && col + 1u < params.cols {
            second = score_output(span, col + 1u, record);
        }
        store_word(out, col, score_output(span, col, record), second);
    }
    if span.head == out.head {
        for (var q = lane; q < out.quads; q += LANES) {
            let scores = score_quad(span, q);
            let col = quad_col(out, q);
            let a = output_bits(scores.x, span, col, record);
            let b = output_bits(scores.y, span, col + 1u, record);
            let c = output_bits(scores.z, span, col + 2u, record);
            let d = output_bits(scores.w, span, col + 3u, record);
            store_quad(out, col, a, b, c, d);
        }
        return;
    }
    // The logits' quads are not the output's.
    for (var q = lane; q < out.quads; q += LANES) {
        let col = quad_col(out, q);
        let a = score_output(span, col, record);
        let b = score_output(span, col + 1u, record);
        let c = score_output(span, col + 2u, record);
        let d = score_output(span, col + 3u, record);
        store_quad(out, col, a, b, c, d);
    }
}

fn fill_output(row: u32, lane: u32, bits: u32) {
    let out = output_span(row);
    let edges = (out.head + out.tail + OUTPUT_PER_WORD - 1u) / OUTPUT_PER_WORD;
    for (var i = lane; i < edges; i += LANES) {
        store_word(out, edge_col(out, i * OUTPUT_PER_WORD), bits, bits);
    }
    for (var q = lane; q < out.quads; q += LANES) {
        store_quad(out, quad_col(out, q), bits, bits, bits, bits);
    }
}
