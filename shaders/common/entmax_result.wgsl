// Uses: params, seat, row_span, score, wide_product, row_input, row_results, entmax

// The Fenchel-Young loss of entmax for a row with a target class y, from its threshold (Blondel, Martins, Niculae 2020,
// arXiv:1901.02324): (1 − Σ p^α) / (α·(α − 1)) + ⟨p − e_y, x⟩. With the sum f of the powers y^r, y = (θ − u)₊, and the mean
// m = Σ p·u, which the probabilities y^r / f have,
//
//     Σ p^α = (θ − m)·f^(1 − α),     ⟨p − e_y, x⟩ = (max x − x_y) − m / (α − 1)
//
// f is 1 but for rounding. As the loss is the largest over all p, an error of p counts only by its square.

// The loss times the row's weight, as bits. Halves do not overflow, and rounding does not bring it below 0.
fn entmax_loss(found: Threshold, target_bits: u32, weight: f32) -> u32 {
    if target_bits == NEG_INFINITY {
        return INFINITY;
    }
    let corrected = exp2(params.entmax_slope * log2(found.inverse_sum));
    let correction = select(corrected, 1.0, found.inverse_sum == 1.0);
    let entropy = (1.0 - (found.theta - found.mean_below) * correction) * params.entmax_loss_scale;
    let beside = entropy - found.mean_below * params.entmax_power;
    let half = (0.5 * found.base - 0.5 * bitcast<f32>(target_bits)) + 0.5 * beside;
    return bitcast<u32>(wide_product(vec4(max(half, 0.0), 2.0, weight, 1.0)));
}

fn store_entmax_row(seat: Seat, span: RowSpan, found: Threshold, input: RowInput) {
    if found.flags != 0u {
        store_row_result(seat, special_bits(found.flags), found.flags);
        return;
    }
    store_row_result(seat, entmax_loss(found, score(span, input.class_index), input.weight), 0u);
}
