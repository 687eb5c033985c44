// The second sweep over a row: every value of the output from the logit at its place. The pass supplies
// `output_bits(logit's bits, column, record)`; a row without a value of its own is filled instead, its logits unread.

fn output_start(row: u32) -> u32 {
    return params.output_base + row * params.row_stride;
}

fn sweep_output(span: RowSpan, row: u32, lane: u32, record: Record) {
    let start = output_start(row);
    for (var i = lane; i < span.head + span.tail; i += LANES) {
        let col = edge_col(span, i);
        store_output(start + col, output_bits(load_logit(span.start + col), col, record));
    }
    for (var q = lane; q < span.quads; q += LANES) {
        let bits = load_quad(span.first_quad + q);
        let col = span.head + 4u * q;
        store_output(start + col, output_bits(bits.x, col, record));
        store_output(start + col + 1u, output_bits(bits.y, col + 1u, record));
        store_output(start + col + 2u, output_bits(bits.z, col + 2u, record));
        store_output(start + col + 3u, output_bits(bits.w, col + 3u, record));
    }
}

fn fill_output(row: u32, lane: u32, bits: u32) {
    let start = output_start(row);
    for (var col = lane; col < params.cols; col += 4u * LANES) {
        store_output(start + col, bits);
        if col + LANES < params.cols { store_output(start + col + LANES, bits); }
        if col + 2u * LANES < params.cols { store_output(start + col + 2u * LANES, bits); }
        if col + 3u * LANES < params.cols { store_output(start + col + 3u * LANES, bits); }
    }
}
