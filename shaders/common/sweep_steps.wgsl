// Uses: row_span, sums, steps

// The whole steps of a sweep over a row, in chunks that are summed separately: rounding grows with the square root of the
// row's length, not with the length.

const CHUNK_STEPS: u32 = 32u;

// Adds the whole steps of the row, or of a segment of it, to what a lane has summed before.
fn sweep_steps(before: LaneSum, swept: Swept, span: RowSpan, lane: u32) -> LaneSum {
    var sum = before;
    let steps = full_steps(span);
    var step = 0u;
    while STEPS && step < steps {
        let chunk_end = min(step + CHUNK_STEPS, steps);
        var chunk = identity();
        for (; step < chunk_end; step++) {
            chunk = with_step(chunk, swept, step_pack(span, step, lane));
        }
        sum = combine(sum, chunk);
    }
    return sum;
}
