// Uses: params, seat, pack, row_span, sums, steps, sweep_steps

// A sweep over a row of two arrays, with quads as packs: at most 3 columns before the first whole quad, the quads, and at
// most 3 columns after them.

fn head_cols(span: RowSpan) -> u32 {
    return select(0u, min(PACK_VALUES - span.shift, params.cols), span.lead > 0u);
}

// One lane's part of the row.
fn sweep_quads(swept: Swept, span: RowSpan, lane: u32) -> LaneSum {
    var sum = identity();
    for (var col = lane; col < head_cols(span); col += LANES) {
        sum = with_col(sum, swept, col);
    }
    sum = sweep_steps(sum, swept, span, lane);
    for (var quad = step_pack(span, full_steps(span), lane); quad < span.whole; quad += LANES) {
        sum = with_quad(sum, swept, quad);
    }
    for (var col = pack_col(span, span.whole) + lane; col < params.cols; col += LANES) {
        sum = with_col(sum, swept, col);
    }
    return sum;
}
