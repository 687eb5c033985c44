// Uses: params, seat, row_span, row_input, load_row_input, row_results, pair_stats, kl_result

// KL(teacher ‖ student) alone: one read of both batches, one record per row.

@compute @workgroup_size(INVOCATIONS)
fn kl_losses(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let input = load_row_input(at);
    let reads = !is_skipped(input);
    let stats = pair_stats(row_span(at), at, reads);
    if !at.taken || at.lane != 0u { return; }
    if reads {
        store_read_row(at, stats, input);
    } else {
        store_skipped_row(at, input);
    }
}
