// Uses: params, seat, row_span, row_input, load_row_input, row_results, entmax, entmax_result

// The Fenchel-Young loss of entmax alone: one read of the logits, one record per row.

@compute @workgroup_size(INVOCATIONS)
fn entmax_losses(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let input = load_row_input(at);
    let reads = !is_skipped(input);
    let span = row_span(at);
    let found = row_threshold(span, at, reads);
    if !at.taken || at.lane != 0u { return; }
    if reads {
        store_entmax_row(at, span, found, input);
    } else {
        store_skipped_row(at, input);
    }
}
