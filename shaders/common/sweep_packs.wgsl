// Uses: seat, row_span, scores, seconds, steps, sums, sweep_steps

// A sweep over a row of two arrays: whole steps, then the packs outside them.

// The same columns of both arrays.
struct PackPair {
    first: QuadPair,  // of the logits, or of the array in their place
    second: QuadPair,
}

// Two quads of a step: one pack, or two packs that are LANES apart.
fn step_pair(span: RowSpan, pack: u32) -> PackPair {
    if PACKED {
        return PackPair(raw_pack(span, pack), second_pack(span, pack));
    }
    let next = pack + LANES;
    return PackPair(
        QuadPair(raw_pack(span, pack).a, raw_pack(span, next).a),
        QuadPair(second_pack(span, pack).a, second_pack(span, next).a),
    );
}

// A pack with the bits `outside` for columns outside the row.
fn own_part(pair: QuadPair, col: u32, outside: u32) -> QuadPair {
    return QuadPair(within(pair.a, col, outside), within(pair.b, col + 4u, outside));
}

// Any pack of both arrays.
fn edge_pair(span: RowSpan, pack: u32) -> PackPair {
    let col = pack_col(span, pack);
    let nothing = outside_row();
    return PackPair(
        own_part(raw_edge(span, pack), col, nothing.x),
        own_part(second_pack(span, pack), col, nothing.y),
    );
}

// One lane's part of the row.
fn sweep_packs(swept: Swept, span: RowSpan, lane: u32) -> LaneSum {
    var sum = sweep_steps(identity(), swept, span, lane);
    let rest = rest_packs(span);
    for (var i = lane; i < rest; i += LANES) {
        sum = with_pack(sum, edge_pair(span, rest_pack(span, i)));
    }
    return sum;
}
