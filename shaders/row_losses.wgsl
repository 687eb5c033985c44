// Uses: params, seat, row_span, row_stats, target, row_input, load_row_input, row_result, row_results, store_read_row

// The loss alone: one read of the logits, one record per row.

@compute @workgroup_size(INVOCATIONS)
fn row_losses(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let input = load_row_input(at);
    let reads = !is_skipped(input);
    let span = row_span_to(at, class_of(input));
    let swept = row_stats(span, at, reads);
    if !at.taken || at.lane != 0u { return; }
    if reads {
        let own = own_of(swept, span);
        let stats = completed(swept, own);
        store_read_row(at, stats, span, input, target_part(stats, swept.sum_exp, own, span, input));
    } else {
        store_skipped_row(at, input);
    }
}
