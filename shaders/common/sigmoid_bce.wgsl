// Uses: params, trusts_floats, seat, row_span, lane_tree, weights, class_weights, row_input, ln_1_plus, row_results

// Binary cross-entropy of each class separately. With e = exp(−|x|), a class's loss is
//
//     w·( ((1 − t) + P·t)·ln(1 + e) + m·|x| ),     m = 1 − t if x ≥ 0, else P·t
//
// which is −w·( P·t·ln σ(x) + (1 − t)·ln(1 − σ(x)) ), because −ln σ(x) = ln(1 + e) + max(−x, 0). Nothing overflows, and no
// term is subtracted from another. Its derivative is, likewise,
//
//     w·( (1 − t)·σ(x) − P·t·σ(−x) )
//
// where one of the two sigmoids is 1 / (1 + e) and the other e / (1 + e): a small one keeps its digits.

const ONE: u32 = 0x3f800000u;
const FAR_TARGET: u32 = 0x5d800000u; // 2^60
const MINUS_LOG2_E: f32 = -1.4426950408889634;

const MINUS_LOSS: u32 = 32u; // like INFINITE_LOSS, for −∞; the bit above it, used between lanes only

const NAN_ROW: u32 = NAN_LOGIT | INVALID_TARGET | INVALID_WEIGHT;

// Four classes of a row.
struct ClassTerms {
    losses: vec4<f32>, // the losses that are finite, else 0
    slopes: vec4<f32>, // the derivatives of the losses with respect to the logits, scaled
}

fn pos_weight_quad(col: u32) -> vec4<u32> {
    if POS_WEIGHT {
        return vec4(
            given_pos_weight(col),
            given_pos_weight(col + 1u),
            given_pos_weight(col + 2u),
            given_pos_weight(col + 3u),
        );
    }
    return vec4(ONE);
}

// The flags of four classes, of which some have a logit or a target that is special, or an invalid weight.
fn class_flags(bits: vec4<u32>, label: vec4<u32>, col: u32, counted: vec4<bool>) -> u32 {
    let weight = class_weight_quad(col);
    let positive_weight = pos_weight_quad(col);
    let magnitude = bits & vec4(MAGNITUDE);
    let below = bits >= vec4(0x80000000u);
    let target_below = select(vec4(1.0) - bitcast<vec4<f32>>(label), bitcast<vec4<f32>>(label), below);
    // Whether a factor is 0 is judged by its bits: a product may underflow, and a comparison may flush denormals.
    let no_positive = ((label & vec4(MAGNITUDE)) == vec4(0u)) | ((positive_weight & vec4(MAGNITUDE)) == vec4(0u));
    let no_loss = select(label == vec4(ONE), no_positive, below) | ((weight & vec4(MAGNITUDE)) == vec4(0u));
    let infinite = (magnitude == vec4(INFINITY)) & !no_loss & counted;
    let minus = bitcast<vec4<u32>>(target_below) >= vec4(0x80000000u);
    return select(0u, NAN_LOGIT, any((magnitude > vec4(INFINITY)) & counted))
        | select(0u, INVALID_TARGET, any(((label & vec4(MAGNITUDE)) >= vec4(INFINITY)) & counted))
        | select(0u, INVALID_WEIGHT, any(!(are_weights(weight) & are_weights(positive_weight)) & counted))
        | select(0u, INFINITE_LOSS, any(infinite & !minus))
        | select(0u, MINUS_LOSS, any(infinite & minus));
}

// The terms of four classes from a column on, from the bits of x and of the targets, and the factor of the slope, which this
// lane takes. This is inlined several times. With a branch for each flag of each class, SwiftShader compiled the gradient
// with one lane per row for minutes, and took 13 GB and more.
fn class_terms(bits: vec4<u32>, label: vec4<u32>, col: u32, scale: f32) -> ClassTerms {
    let x = bitcast<vec4<f32>>(bits);
    let t = bitcast<vec4<f32>>(label);
    let below = bits >= vec4(0x80000000u);
    let negative = vec4(1.0) - t;
    let target_below = select(negative, t, below);

    let e = exp2_or_zero(abs(x) * MINUS_LOG2_E);
    let near = 1.0 / (1.0 + e);
    let far = e * near;
    let softplus = ln_1_plus_all(e);
    var terms: ClassTerms;
    if CLASS_WEIGHTS || POS_WEIGHT {
        // Targets may be any f32. A weight is multiplied by a sigmoid or a logarithm before a target. In the term with the
        // height, the target comes first if it is at most 1, else the height. So no product on the way overflows, and none
        // is ∞ · 0. (The max calls, which limit nothing, keep a compiler from another order.)
        let weight = class_weight_quad(col);
        let w = bitcast<vec4<f32>>(weight);
        let w_positive = w * bitcast<vec4<f32>>(pos_weight_quad(col));
        // Two forms of the same term: near 1 the first keeps the target's digits; far from it the second avoids ∞ − ∞.
        let is_far = (label & vec4(MAGNITUDE)) > vec4(FAR_TARGET);
        let near_level = (w * negative + w_positive * t) * softplus;
        let far_level = w * softplus + max(t * softplus, vec4(LOWEST)) * (w_positive - w);
        let level = select(near_level, far_level, is_far);
        let height = select(abs(x), vec4(0.0), (bits & vec4(MAGNITUDE)) >= vec4(INFINITY));
        let is_large = abs(target_below) > vec4(1.0);
        let weighted = max(select(w, w_positive, below) * select(target_below, height, is_large), vec4(LOWEST));
        let loss = level + weighted * select(height, target_below, is_large);
        let slope = max(w * select(near, far, below), vec4(0.0)) * scale * negative
            - max(w_positive * select(far, near, below), vec4(0.0)) * scale * t;
        let has_weight = (weight & vec4(MAGNITUDE)) != vec4(0u);
        terms = ClassTerms(select(vec4(0.0), loss, has_weight), select(vec4(0.0), slope, has_weight));
    } else {
        // σ(x) − t, where the larger of the two sigmoids is 1 − far: the smaller one keeps its digits.
        let slopes = (target_below - far) * select(vec4(scale), vec4(-scale), below);
        terms = ClassTerms(softplus + target_below * abs(x), slopes);
    }
    // One test for all that is rare: a special logit or target, an invalid weight, a column outside the row.
    let is_inside = col < params.cols && col + 3u < params.cols;
    let is_usual = are_finite(bits, label) && is_inside;
    if CLASS_WEIGHTS || POS_WEIGHT || !is_usual {
        let counted = four_cols(col) < vec4(params.cols); // else it is a neighbour's value in the same pack
        let has_loss = counted & ((bits & vec4(MAGNITUDE)) < vec4(INFINITY));
        terms.losses = select(vec4(0.0), terms.losses, has_loss);
        taken.flags |= class_flags(bits, label, col, counted);
    }
    take(terms.losses);
    return terms;
}

// What an invocation has summed so far. Sums of 16, of 256, of 4,096 values and of the rest are kept separately. In a
// row of equal losses all rounding goes one way, and this keeps it from growing with the row.
struct Taken {
    sums: vec4<f32>,
    quads: u32,
    flags: u32,
}

var<private> taken: Taken;

fn take(losses: vec4<f32>) {
    taken.quads += 1u;
    taken.sums.x += (losses.x + losses.y) + (losses.z + losses.w);
    if taken.quads % 4u == 0u {
        let full = (vec2(taken.quads) & vec2(63u, 1023u)) == vec2(0u);
        var sums = taken.sums;
        sums.y += sums.x;
        sums.z += select(0.0, sums.y, full.x);
        sums.w += select(0.0, sums.z, full.y);
        taken.sums = select(sums, vec4(0.0), vec4(true, full, false));
    }
}

// A row's loss and its flags, as a monoid.
struct RowSum {
    loss: f32,
    flags: u32,
}

alias LaneSum = RowSum;

fn combine(a: RowSum, b: RowSum) -> RowSum {
    return RowSum(a.loss + b.loss, a.flags | b.flags);
}

var<workgroup> lane_sums: array<RowSum, INVOCATIONS>;

fn put_lane(at: u32, sum: RowSum) {
    lane_sums[at] = sum;
}

fn lane_at(at: u32) -> RowSum {
    return lane_sums[at];
}

// The whole row's sum of what its lanes took, for each of the lanes. Call this in uniform control flow, once.
fn row_sum(seat: Seat) -> RowSum {
    let sums = taken.sums;
    let own = RowSum((sums.x + sums.y) + (sums.z + sums.w), taken.flags);
    return over_lanes(own, seat.first, seat.lane, LANES);
}

fn store_row_sum(seat: Seat, input: RowInput, sum: RowSum) {
    if (sum.flags & NAN_ROW) != 0u {
        store_row_result(seat, NAN, sum.flags & NAN_ROW);
        return;
    }
    var bits = bitcast<u32>(input.weight * sum.loss);
    // A target outside 0..=1 may make a class's loss −∞.
    switch sum.flags & (INFINITE_LOSS | MINUS_LOSS) {
        case 0u: {}
        case INFINITE_LOSS: { bits = INFINITY; }
        case MINUS_LOSS: { bits = NEG_INFINITY; }
        default: { bits = NAN; } // ∞ − ∞
    }
    if is_nan(bits) {
        bits = NAN;
    }
    store_row_result(seat, bits, 0u);
}
