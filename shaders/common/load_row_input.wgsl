// Where a row's input is read.

@group(0) @binding(4) var<storage, read> row_inputs: array<vec4<u32>>;

fn load_row_input(seat: Seat) -> RowInput {
    if !seat.taken {
        return RowInput(NO_CLASS, 0.0, 0u, IGNORED);
    }
    return unpack_row_input(row_inputs[INPUT_HEAD + params.first_row + seat.row]);
}
