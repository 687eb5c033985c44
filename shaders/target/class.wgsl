// Uses: params, row_span, score, row_stats, class_weights, row_input, row_input_of, row_result, ln_1_plus

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

// The class that the sum of exponentials leaves out.
fn excluded_col(span: RowSpan) -> u32 {
    return row_input_of(params.first_row + span.row).class_index;
}

// What the target's class has to itself. `others` is Σ exp without its own. The logarithm that is near 0 is computed from the
// small ratio.
fn own_part(stats: RowStats, others: f32, bits: u32) -> TargetPart {
    var part = no_part();
    part.exp = own_exp(stats, bits);
    part.rest = 1.0;
    part.minus_ln_p = surprise(stats, bits, 1.0, 1.0);
    if EXCLUDE_TARGET {
        part.rest = others / stats.sum_exp;
        if others < part.exp {
            part.minus_ln_p = ln_1_plus(others / part.exp);
        }
    }
    return part;
}

fn target_part(stats: RowStats, others: f32, span: RowSpan, input: RowInput) -> TargetPart {
    let weight = (1.0 - params.smoothing) * class_weight(input.class_index);
    let bits = score(span, input.class_index);
    var part = own_part(stats, others, bits);
    if weight == 0.0 {
        return part;
    }
    part.mass = weight;
    if bits == NEG_INFINITY {
        part.marks = MASS_AT_NEG_INFINITY;
        return part;
    }
    if !FOCAL {
        if EXCLUDE_TARGET && others < part.exp {
            part.loss = row_product(vec4(part.minus_ln_p, weight, input.weight, 1.0));
        } else {
            part.loss = surprise(stats, bits, weight, input.weight);
        }
        return part;
    }
    // F·ℓ_y, whose gradient is φ·(p − y) with φ = F·(1 + γ·p_y·ℓ_y / (1 − p_y)).
    if others == 0.0 {
        part.mass = 0.0;
        return part;
    }
    var ln_rest = log(part.rest);
    if others >= part.exp {
        ln_rest = -ln_1_plus(part.exp / others);
    }
    let factor = exp2(max(params.focal_gamma * ln_rest * LOG2_E, -150.0));
    var slope = factor;
    if part.exp > 0.0 { // else ℓ_y may be infinite, and φ is F
        slope += factor * params.focal_gamma * (part.exp * (part.minus_ln_p / others));
    }
    part.mass = weight * slope;
    part.loss = row_product(vec4(part.minus_ln_p, factor, weight, input.weight));
    return part;
}
