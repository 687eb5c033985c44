// Multi-label losses and their gradient, in one sweep: a class's gradient needs no other class. Only a row with a NaN, or
// one that is left out, is gone over once more, to be filled.

struct Record {
    scale: f32,       // what the row's loss is multiplied by: upstream · row weight / denominator
    labels_from: u32,
}

fn output_bits(bits: u32, span: RowSpan, col: u32, record: Record) -> u32 {
    let term = class_term(bits, labels[record.labels_from + col_offset(col)], col);
    take(term);
    return bitcast<u32>(record.scale * term.slope);
}

fn fill_quad(out: RowSpan, q: u32, bits: u32) {
    if q < out.quads {
        store_quad(out, quad_col(out, q), bits, bits, bits, bits);
    }
}

// As `fill_output`, four quads an iteration: with the sweep before it, a row must not take more iterations than the plan
// counts. A lane goes over its own words.
fn refill_output(row: u32, lane: u32, bits: u32) {
    let out = output_span(row);
    let edges = (out.head + out.tail + OUTPUT_PER_WORD - 1u) / OUTPUT_PER_WORD;
    for (var i = lane; i < edges; i += LANES) {
        store_word(out, edge_col(out, i * OUTPUT_PER_WORD), bits, bits);
    }
    for (var q = lane; q < out.quads; q += 4u * LANES) {
        fill_quad(out, q, bits);
        fill_quad(out, q + LANES, bits);
        fill_quad(out, q + 2u * LANES, bits);
        fill_quad(out, q + 3u * LANES, bits);
    }
}

@compute @workgroup_size(INVOCATIONS)
fn sigmoid_bce_dlogits(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let input = load_row_input(at);
    let reads = !is_skipped(input);
    let denominator = batch_denominator();
    let scale = bitcast<f32>(input.upstream) / denominator;
    let has_scale = is_finite(input.upstream) && is_finite(bitcast<u32>(scale));
    if reads {
        let usable = select(0.0, scale, has_scale);
        sweep_output(row_span(at.row), at.lane, Record(usable, first_label(at.row)));
    }
    let sum = row_sum(at);
    if !at.taken { return; }
    if at.lane == 0u {
        if reads {
            store_row_sum(at, input, sum);
        } else {
            store_skipped_row(at, input);
        }
    }
    if !reads || denominator == 0.0 {
        refill_output(at.row, at.lane, 0u);
    } else if (sum.flags & NAN_ROW) != 0u || !has_scale {
        refill_output(at.row, at.lane, NAN);
    }
}
