// Uses: params, seat, row_span, row_input, load_row_input, row_results, sigmoid_bce

// Multi-label losses: one read of logits and targets, one record per row. Values are taken in the same order as in
// `sigmoid_bce_dlogits` if its output has the layout of the logits. So the sweep is neither `sweep_output`, which stores a
// value for each logit, nor `sweep_steps`, whose sums have another order.

fn take_class(bits: u32, labels_from: u32, col: u32) {
    take(class_term(bits, labels[labels_from + col_offset(col)], col, 1.0));
}

fn take_pack(span: RowSpan, pack: u32, labels_from: u32) {
    let quad = raw_edge(span, pack).a;
    let col = pack_col(span, pack);
    if col < params.cols { take_class(quad.x, labels_from, col); }
    if col + 1u < params.cols { take_class(quad.y, labels_from, col + 1u); }
    if col + 2u < params.cols { take_class(quad.z, labels_from, col + 2u); }
    if col + 3u < params.cols { take_class(quad.w, labels_from, col + 3u); }
}

fn sweep_losses(span: RowSpan, lane: u32) {
    let labels_from = first_label(span.row);
    for (var i = lane; i < all_packs(span); i += LANES) {
        take_pack(span, nth_pack(span, i), labels_from);
    }
}

@compute @workgroup_size(INVOCATIONS)
fn sigmoid_bce_losses(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let input = load_row_input(at);
    let reads = !is_skipped(input);
    if reads {
        sweep_losses(row_span(at), at.lane);
    }
    let sum = row_sum(at);
    if !at.taken || at.lane != 0u { return; }
    if reads {
        store_row_sum(at, input, sum);
    } else {
        store_skipped_row(at, input);
    }
}
