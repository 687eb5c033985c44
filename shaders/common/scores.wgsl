// Uses: params, row_span, score

// The scores of a row, a pack at a time.

// The scores of a whole pack.
fn score_pack(span: RowSpan, pack: u32) -> QuadPair {
    let col = pack_col(span, pack);
    if is_hidden(col) {
        return QuadPair(vec4(NEG_INFINITY), vec4(NEG_INFINITY));
    }
    return scores_of(raw_pack(span, pack), col);
}

// The scores of any pack. Values that belong to the row's neighbours become −∞.
fn score_edge(span: RowSpan, pack: u32) -> QuadPair {
    let col = pack_col(span, pack);
    if is_hidden(col) {
        return QuadPair(vec4(NEG_INFINITY), vec4(NEG_INFINITY));
    }
    let scores = scores_of(raw_edge(span, pack), col);
    return QuadPair(within(scores.a, col, NEG_INFINITY), within(scores.b, col + 4u, NEG_INFINITY));
}

// The bits of four columns from `col` on, with `outside` for those outside the row.
fn within(bits: vec4<u32>, col: u32, outside: u32) -> vec4<u32> {
    return select(vec4(outside), bits, four_cols(col) < vec4(params.cols));
}
