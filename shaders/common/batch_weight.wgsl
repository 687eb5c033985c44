// Uses: params, row_input_of, the pass

// What the reduced loss, and with it every gradient, is divided by: the head of the row inputs, unless it was given.

fn batch_denominator() -> f32 {
    let weight = bitcast<f32>(row_inputs[0].x);
    return select(params.denominator, weight, params.denominator == 0.0);
}

fn batch_row_denominator() -> f32 {
    let weight = bitcast<f32>(row_inputs[0].y);
    return select(params.row_denominator, weight, params.row_denominator == 0.0);
}
