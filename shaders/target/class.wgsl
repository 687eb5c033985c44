// Uses: params, row_span, score, cap, row_stats, class_weights, row_input, row_input_of, row_result, ln_1_plus

// Class-index targets: one class of the row has the target's mass, apart from what smoothing spreads.
//
//     loss = (1 − ε)·w_y·F·ℓ_y + ε/C · Σ w_j ℓ_j,     F = (1 − p_y)^γ

override FOCAL: bool;

// The weights to sum over the row, for smoothing: those of the classes.
fn target_weights(span: RowSpan, col: u32) -> vec4<u32> {
    return swept_class_weights(col);
}

fn swept_share() -> f32 {
    return params.smoothing / f32(params.cols);
}

// Focal loss needs 1 − p_y accurately when p_y is almost 1, so the sum of exponentials leaves the target's class out.
fn excluded_col(span: RowSpan) -> u32 {
    return row_input_of(params.first_row + span.row).class_index;
}

fn target_part(stats: RowStats, others: f32, span: RowSpan, input: RowInput) -> TargetPart {
    let weight = (1.0 - params.smoothing) * class_weight(input.class_index);
    let bits = score(span, input.class_index);
    if weight == 0.0 {
        return no_part();
    }
    if bits == NEG_INFINITY {
        return TargetPart(0.0, weight, MASS_AT_NEG_INFINITY, 0u);
    }
    if !FOCAL {
        return TargetPart(surprise(stats, bits, weight, input.weight), weight, 0u, 0u);
    }
    // F·ℓ_y, whose gradient is φ·(p − y) with φ = F·(1 + γ·p_y·ℓ_y / (1 − p_y)). `others` is Σ exp without the class's own.
    if others == 0.0 {
        return no_part();
    }
    let exp_own = scaled_exp(capped_one(bitcast<f32>(bits)), stats.base);
    // The logarithm that is near 0 is computed from the small ratio.
    var minus_ln_p = surprise(stats, bits, 1.0, 1.0);
    var ln_rest = log(others / stats.sum_exp);
    if others < exp_own {
        minus_ln_p = ln_1_plus(others / exp_own);
    } else {
        ln_rest = -ln_1_plus(exp_own / others);
    }
    let factor = exp2(max(params.focal_gamma * ln_rest * LOG2_E, -150.0));
    var slope = factor;
    if exp_own > 0.0 { // else ℓ_y may be infinite, and φ is F
        slope += factor * params.focal_gamma * (exp_own * (minus_ln_p / others));
    }
    return TargetPart(row_product(vec4(minus_ln_p, factor, weight, input.weight)), weight * slope, 0u, 0u);
}
