// Uses: params, seat, row_span, stats, row_stats, told, target, row_input, row_fields, row_result, row_results

// The result of a row whose logits were read.

// Fields that need the target's score.
const OF_TARGET: u32 = FIELD_TARGET_LOGIT | FIELD_TARGET_PROB | FIELD_TARGET_LOG_PROB | FIELD_ENTROPY | FIELD_BRIER;

// What the row tells besides its loss. A special logit keeps its own value, and the row's flags report it.
fn store_readouts(seat: Seat, stats: RowStats, span: RowSpan, part: TargetPart, class_index: u32) {
    store_field(seat, FIELD_LSE, logsumexp_bits(stats));
    store_field(seat, FIELD_ARGMAX, stats.position + params.first_col);
    store_field(seat, FIELD_ROW_MAX, unless_special(stats, stats.base));
    store_field(seat, FIELD_SUM_EXP, sum_exp_bits(stats));
    var bits = NEG_INFINITY;
    if keeps(OF_TARGET) {
        bits = target_score(span);
    }
    let own = row_score(bits);
    store_field(seat, FIELD_TARGET_LOGIT, select(bits, bitcast<u32>(own), is_finite(bits)));
    store_field(seat, FIELD_CLASS_MASS, bitcast<u32>(stats.mass));
    let is_infinite = (stats.marks & MASS_AT_NEG_INFINITY) != 0u;
    store_field(seat, FIELD_CLASS_DISTANCE, select(bitcast<u32>(stats.distance), INFINITY, is_infinite));
    let special = stats_flags(stats);
    if special != 0u {
        for (var field = FIELD_TARGET_PROB; field <= FIELD_MEAN_LOGIT; field <<= 1u) {
            let is_count = field == FIELD_RANK || field == FIELD_CORRECT;
            store_field(seat, field, select(special_bits(special, 0u), 0u, is_count));
        }
        return;
    }
    // Log-probabilities are used as given: e · exp(base) is the probability.
    let inverse = select(1.0 / stats.sum_exp, scaled_exp(stats.base, 0.0), LOG_PROBS);
    let power = exponents(vec4(own), stats.base).x;
    let exp_own = select(exp2(power), 0.0, bits == NEG_INFINITY);
    let log_prob = select(bitcast<u32>(-part.minus_ln_p), NEG_INFINITY, bits == NEG_INFINITY);
    store_field(seat, FIELD_TARGET_PROB, bitcast<u32>(exp_own * inverse));
    store_field(seat, FIELD_TARGET_LOG_PROB, log_prob);
    store_field(seat, FIELD_CONFIDENCE, bitcast<u32>(inverse));
    let is_given = GIVEN && stats.position + params.first_col == class_index;
    let is_correct = is_given || (!GIVEN && stats.position == span.target_col);
    store_field(seat, FIELD_CORRECT, select(0u, 1u, is_correct));
    store_swept_readouts(seat, stats, inverse, vec2(exp_own, power));
}

// Σ exp((s − max) / T). A row of only −∞ has none; one with NaN or +∞ has no sum.
fn sum_exp_bits(stats: RowStats) -> u32 {
    let flags = stats_flags(stats);
    let special = select(NAN, 0u, flags == MASKED_ROW);
    return select(special, bitcast<u32>(stats.sum_exp), flags == 0u);
}

fn store_read_row(seat: Seat, stats: RowStats, span: RowSpan, input: RowInput, part: TargetPart) {
    let flags = row_flags(stats, part);
    let lse = logsumexp_bits(stats);
    store_readouts(seat, stats, span, part, input.class_index);
    if flags != 0u {
        store_row_result(seat, special_bits(flags, 0u), flags);
        return;
    }
    let share = swept_share();
    var marks = part.marks;
    var loss = part.loss;
    if TARGET_SUMS && share > 0.0 {
        marks |= stats.marks & (MASS_AT_NEG_INFINITY | MINUS_MASS_AT_NEG_INFINITY);
        loss += swept_loss(stats, share, input.weight);
    }
    var bits = bitcast<u32>(loss);
    // A NaN here only means that something went beyond f32 on the way.
    if is_nan(bits) {
        bits = INFINITY;
    }
    switch marks {
        case 0u: {}
        case MASS_AT_NEG_INFINITY: { bits = INFINITY; }
        case MINUS_MASS_AT_NEG_INFINITY: { bits = NEG_INFINITY; }
        default: { bits = NAN; } // ∞ − ∞
    }
    // Only the flags record a z-loss beyond f32; loss and z-loss are added where rows are reduced.
    let whole = with_z_loss(bits, z_loss_of(input, lse, flags));
    store_row_result(seat, bits, loss_flags(whole));
}
