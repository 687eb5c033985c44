// Uses: params, seat, row_input, row_fields

// Writes a row's results. The loss is the row's weight times the target's part. What is not asked for is not written: if
// rows are short, the cost of memory is by the word.

@group(0) @binding(5) var<storage, read_write> row_results: array<u32>;

fn store_field(seat: Seat, field: u32, bits: u32) {
    // For a split row, the first segment writes the results.
    let is_writer = !SPLIT || seat.segment == 0u;
    if keeps(field) && is_writer {
        row_results[field_word(params.first_row + seat.row, field)] = bits;
    }
}

// The part of the results that every loss has.
fn store_row_result(seat: Seat, loss: u32, flags: u32) {
    store_field(seat, FIELD_LOSS, loss);
    store_field(seat, FIELD_FLAGS, flags | loss_flags(loss));
}

// A row that is not read: zeros if it is left out, NaN if its target or its weight is invalid.
fn store_skipped_row(seat: Seat, input: RowInput) {
    let fill = select(NAN, 0u, input.flags == IGNORED);
    for (var field = FIELD_LSE; field <= ROW_FIELDS; field <<= 1u) {
        store_field(seat, field, select(fill, NO_CLASS, field == FIELD_ARGMAX));
    }
    store_row_result(seat, fill, input.flags);
}
