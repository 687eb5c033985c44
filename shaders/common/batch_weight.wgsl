// Uses: params, row_input_of, the pass

// The denominator of the reduced loss, and so of every gradient: from the head of the row inputs, unless the caller
// gave it.

fn batch_denominator() -> f32 {
    let weight = bitcast<f32>(row_inputs[0].x);
    return select(params.denominator, weight, params.denominator == 0.0);
}

fn batch_row_denominator() -> f32 {
    let weight = bitcast<f32>(row_inputs[0].y);
    return select(params.row_denominator, weight, params.row_denominator == 0.0);
}
