// Uses: params, seat, row_input

// Writes a row's result: {loss, lse, argmax, flags}, as bits. The loss is the row's weight times the target's part. lse and
// argmax are written only if they are read later: if rows are short, the cost of memory is by the word.

override KEEP_LSE: bool;
override KEEP_ARGMAX: bool;

@group(0) @binding(5) var<storage, read_write> row_results: array<vec4<u32>>;

fn store_row_result(seat: Seat, loss: u32, lse: u32, position: u32, flags: u32) {
    // For a split row, the first segment writes the result.
    if SPLIT && seat.segment != 0u {
        return;
    }
    let row = params.first_row + seat.row;
    row_results[row].x = loss;
    if KEEP_LSE { row_results[row].y = lse; }
    if KEEP_ARGMAX { row_results[row].z = position; }
    row_results[row].w = flags | loss_flags(loss);
}

// A row that is not read: zeros if it is left out, NaN if its target or its weight is invalid.
fn store_skipped_row(seat: Seat, input: RowInput) {
    if input.flags == IGNORED {
        store_row_result(seat, 0u, 0u, NO_CLASS, 0u);
    } else {
        store_row_result(seat, NAN, NAN, NO_CLASS, input.flags);
    }
}
