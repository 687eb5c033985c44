// Uses: params, seat, row_span, score, row_stats

// The log-probabilities of drawn tokens in the softmax of the untouched logits: (x − max) − ln Σ exp(x − max).

@group(0) @binding(5) var<storage, read> tokens: array<u32>;
@group(0) @binding(6) var<storage, read_write> log_probs: array<u32>; // the second of two words of a sample

fn store_raw(span: RowSpan, at: Seat, stats: RowStats) {
    let ln_sum = ln_sum_exp(stats);
    let first = (params.first_row + at.row) * params.entries;
    for (var i = at.lane; i < params.entries; i += LANES) {
        let token = tokens[first + i];
        if token < params.cols {
            let half = 0.5 * bitcast<f32>(score(span, token)) - 0.5 * stats.base;
            log_probs[2u * (first + i) + 1u] = bitcast<u32>(2.0 * half - ln_sum);
        }
    }
}

@compute @workgroup_size(INVOCATIONS)
fn raw_log_probs(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let span = row_span(at);
    let stats = row_stats(span, at, at.taken);
    if at.taken {
        store_raw(span, at, stats);
    }
}
