// Uses: params, seat, row_span, cap, row_stats, sweep_output

// log_softmax_j = (s_j − max) / T − ln Σ exp((s − max) / T). The maximum is subtracted first, so that an offset shared by
// the whole row cancels exactly before the small logarithm is subtracted. Differences are between halves, which do not
// overflow before the temperature brings them back into range.

struct Record {
    half_max: f32,
    ln_sum_exp: f32,
}

fn may_be_nan(record: Record) -> bool {
    return false;
}

fn output_quad(scores: vec4<u32>, span: RowSpan, col: u32, record: Record) -> vec4<u32> {
    let half_below = 0.5 * capped(bitcast<vec4<f32>>(scores)) - vec4(record.half_max);
    let log_p = half_below * params.twice_inverse_temperature - vec4(record.ln_sum_exp);
    return select(bitcast<vec4<u32>>(log_p), vec4(NEG_INFINITY), scores == vec4(NEG_INFINITY));
}

fn finished_pack(pair: QuadPair, span: RowSpan, pack: u32, record: Record) -> QuadPair {
    return pair;
}

@compute @workgroup_size(INVOCATIONS)
fn log_softmax(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let span = row_span(at);
    let stats = row_stats(span, at, at.taken);
    if !at.taken { return; }
    let flags = stats_flags(stats);
    if flags != 0u {
        fill_output(span, at.lane, special_bits(flags, NEG_INFINITY));
        return;
    }
    sweep_output(span, at.lane, Record(0.5 * stats.base, ln_sum_exp(stats)));
}
