// Uses: row_input

// Reads a row's input.

@group(0) @binding(4) var<storage, read> row_inputs: array<vec4<u32>>;

fn row_input_of(row: u32) -> RowInput {
    if PLAIN_INPUTS {
        return unpack_plain_input(row_inputs[INPUT_HEAD + row / 4u][row % 4u]);
    }
    return unpack_row_input(row_inputs[INPUT_HEAD + row]);
}
