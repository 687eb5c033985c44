// Uses: params, seat, row_span, row_input, load_row_input, row_results, dense, sigmoid_bce

// Multi-label losses: one read of logits and targets, one record per row. Values are taken in the same order as in
// `sigmoid_bce_dlogits` if its output has the layout of the logits. So the sweep is neither `sweep_output`, which stores a
// value for each logit, nor `sweep_steps`, whose sums have another order.

fn take_quad(span: RowSpan, quad: vec4<u32>, col: u32) {
    _ = class_terms(quad, dense_quad(span, col), col, 1.0);
}

fn take_pack(span: RowSpan, quads: QuadPair, pack: u32) {
    let col = pack_col(span, pack);
    take_quad(span, quads.a, col);
    if PACKED {
        take_quad(span, quads.b, col + 4u);
    }
}

fn sweep_losses(span: RowSpan, lane: u32) {
    let steps = full_steps(span);
    for (var step = 0u; STEPS && step < steps; step++) {
        let a = step_pack(span, step, lane);
        let b = a + LANES;
        let c = b + LANES;
        let d = c + LANES;
        let a_quads = raw_pack(span, a);
        let b_quads = raw_pack(span, b);
        var c_quads: QuadPair;
        var d_quads: QuadPair;
        if STEP_PACKS == 4u {
            c_quads = raw_pack(span, c);
            d_quads = raw_pack(span, d);
        }
        take_pack(span, a_quads, a);
        take_pack(span, b_quads, b);
        if STEP_PACKS == 4u {
            take_pack(span, c_quads, c);
            take_pack(span, d_quads, d);
        }
    }
    let rest = rest_packs(span);
    for (var i = lane; i < rest; i += LANES) {
        let pack = rest_pack(span, i);
        take_pack(span, raw_edge(span, pack), pack);
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
