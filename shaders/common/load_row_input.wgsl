// Uses: params, seat, row_input, row_input_of

// The input of the row in a seat.

fn load_row_input(seat: Seat) -> RowInput {
    if !seat.taken {
        return RowInput(NO_CLASS, 0.0, 0u, IGNORED);
    }
    return row_input_of(params.first_row + seat.row);
}
