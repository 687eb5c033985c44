// Uses: params, seat, logits, row_span, entmax, sweep_output

// α-entmax: p_j = ((α − 1)·x_j − τ)₊^(1/(α − 1)), with τ such that the probabilities sum to 1. Most of them are exactly 0.

struct Record {
    base: f32,
    theta: f32,
    factor: f32,
}

fn may_be_nan(record: Record) -> bool {
    return false;
}

fn output_quad(scores: vec4<u32>, span: RowSpan, col: u32, record: Record) -> vec4<u32> {
    return bitcast<vec4<u32>>(entmax_probs(scores, record.base, record.theta, record.factor));
}

fn finished_pack(pair: QuadPair, span: RowSpan, pack: u32, record: Record) -> QuadPair {
    return pair;
}

@compute @workgroup_size(INVOCATIONS)
fn entmax(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let span = row_span(at);
    let found = row_threshold(span, at, at.taken);
    if IN_PLACE { // every lane has read its part of the row, some of which another lane is about to write
        workgroupBarrier();
        storageBarrier();
    }
    if !at.taken { return; }
    if found.flags != 0u {
        fill_output(span, at.lane, special_bits(found.flags));
        return;
    }
    sweep_output(span, at.lane, Record(found.base, found.theta, found.factor));
}
