// Uses: params, row_span, score, row_stats, class_weights, row_input, row_result, ln_1_plus

// Class-index targets: one class of the row has the target's mass, apart from what smoothing spreads.
//
//     loss = (1 − ε)·w_y·F·ℓ_y + ε/C · Σ w_j ℓ_j,     F = (1 − p_y)^γ

override FOCAL: bool;

// The weights to sum over the row, for smoothing: those of the classes.
fn target_weights(span: RowSpan, col: u32) -> vec4<u32> {
    return swept_class_weights(col + params.first_col);
}

fn swept_share() -> f32 {
    return params.smoothing / f32(params.total_cols);
}

// The column of the class that is the target.
fn class_of(input: RowInput) -> u32 {
    return column_of(input.class_index);
}

fn own_of(stats: RowStats, span: RowSpan) -> Own {
    return own_of_bits(stats, target_score(span));
}

// The loss's part at the target's class. `others` is Σ exp without its own. A logarithm near 0 is computed from the small ratio.

fn target_part(stats: RowStats, others: f32, own: Own, span: RowSpan, input: RowInput) -> TargetPart {
    let weight = (1.0 - params.smoothing) * class_weight(input.class_index);
    let bits = own.bits;
    let is_small = EXCLUDE_TARGET && others < own.exp;
    let small = ln_1_plus(others / own.exp);
    var part = no_part();
    part.minus_ln_p = select(surprise(stats, bits, 1.0, 1.0), small, is_small);
    part.rest = select(1.0, others / stats.sum_exp, EXCLUDE_TARGET);
    if weight == 0.0 {
        return part;
    }
    part.mass = weight;
    if bits == NEG_INFINITY {
        part.marks = MASS_AT_NEG_INFINITY;
        return part;
    }
    if !FOCAL {
        let loss = surprise(stats, bits, weight, input.weight);
        part.loss = select(loss, row_product(vec4(small, weight, input.weight, 1.0)), is_small);
        return part;
    }
    // F·ℓ_y, whose gradient is φ·(p − y) with φ = F·(1 + γ·p_y·ℓ_y / (1 − p_y)).
    if others == 0.0 {
        part.mass = 0.0;
        return part;
    }
    var ln_rest = log(part.rest);
    if others >= own.exp {
        ln_rest = -ln_1_plus(own.exp / others);
    }
    let factor = exp2(max(params.focal_gamma * ln_rest * LOG2_E, -150.0));
    var slope = factor;
    if own.exp > 0.0 { // else ℓ_y may be infinite, and φ is F
        slope += factor * params.focal_gamma * (own.exp * (part.minus_ln_p / others));
    }
    part.mass = weight * slope;
    part.loss = row_product(vec4(part.minus_ln_p, factor, weight, input.weight));
    return part;
}
