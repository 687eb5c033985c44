// Uses: params, seat, logits, row_span, row_stats, sweep_output

// softmax_j = exp((s_j − max) / T) / Σ exp((s − max) / T), for logits or masked scores.

struct Record {
    row_max: f32,
    inverse_sum: f32,
}

fn may_be_nan(record: Record) -> bool {
    return false;
}

fn output_quad(scores: vec4<u32>, span: RowSpan, col: u32, record: Record) -> vec4<u32> {
    return bitcast<vec4<u32>>(score_exps(scores, record.row_max) * record.inverse_sum);
}

fn finished_pack(pair: QuadPair, span: RowSpan, pack: u32, record: Record) -> QuadPair {
    return pair;
}

@compute @workgroup_size(INVOCATIONS)
fn softmax(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let span = row_span(at);
    let stats = row_stats(span, at, at.taken);
    if IN_PLACE { // every lane has read its part of the row, some of which another lane is about to write
        workgroupBarrier();
        storageBarrier();
    }
    if !at.taken { return; }
    let flags = stats_flags(stats);
    if flags != 0u {
        fill_output(span, at.lane, special_bits(flags, 0u));
        return;
    }
    sweep_output(span, at.lane, Record(stats.base, 1.0 / stats.sum_exp));
}
