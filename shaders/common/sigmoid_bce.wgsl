// Uses: params, seat, row_span, lane_tree, class_weights, row_input, ln_1_plus, row_results

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

override POS_WEIGHT: bool;

@group(0) @binding(7) var<storage, read> labels: array<u32>;     // t: f32 bits, laid out like the logits
@group(0) @binding(8) var<storage, read> pos_weight: array<u32>; // P: f32 bits, (cols,)

const ONE: u32 = 0x3f800000u;
const FAR_TARGET: u32 = 0x5d800000u; // 2^60
const FAR: u32 = 0x42d00000u; // 104: exp(−104) is below every f32
const MINUS_LOG2_E: f32 = -1.4426950408889634;

const MINUS_LOSS: u32 = 32u; // like INFINITE_LOSS, for −∞; the bit above it, used between lanes only

const NAN_ROW: u32 = NAN_LOGIT | INVALID_TARGET | INVALID_WEIGHT;

// One class of a row.
struct ClassTerm {
    loss: f32,   // the loss if it is finite, else 0
    slope: f32,  // the derivative of the loss with respect to the logit, scaled
    flags: u32,
}

// Where the row's targets begin.
fn first_label(row: u32) -> u32 {
    return row_start(row, params.second_base, params.row_stride);
}

fn pos_weight_bits(col: u32) -> u32 {
    var bits = ONE;
    if POS_WEIGHT {
        bits = pos_weight[col];
    }
    return bits;
}

// The term of one class, from the bits of x, the bits of its target, the class, and the factor of the slope. This is
// inlined many times. With a branch for each flag, SwiftShader compiled the gradient with one lane per row for minutes,
// and took 13 GB and more.
fn class_term(bits: u32, label: u32, col: u32, scale: f32) -> ClassTerm {
    let weight = class_weight_bits(col);
    let positive_weight = pos_weight_bits(col);
    let magnitude = bits & MAGNITUDE;
    let below = (bits >> 31u) == 1u;
    // Whether a factor is 0 is judged by its bits: a product may underflow, and a comparison may flush denormals.
    let no_weight = (weight & MAGNITUDE) == 0u;
    let no_positive = ((label & MAGNITUDE) == 0u) | ((positive_weight & MAGNITUDE) == 0u);
    let no_negative = label == ONE;
    let t = bitcast<f32>(label);
    let negative = 1.0 - t;

    // No infinity and no NaN goes into float arithmetic.
    let e = exp2(bitcast<f32>(min(magnitude, FAR)) * MINUS_LOG2_E);
    let height = select(bitcast<f32>(magnitude), 0.0, magnitude >= INFINITY);
    let near = 1.0 / (1.0 + e);
    let far = e * near;
    // Targets may be any f32. A weight is multiplied by a sigmoid or a logarithm before a target. In the term with the
    // height, the target comes first if it is at most 1, else the height. So no product on the way overflows, and none
    // is ∞ · 0. (The max calls, which limit nothing, keep a compiler from another order.)
    let w = bitcast<f32>(weight);
    var w_positive = w;
    let softplus = ln_1_plus(e);
    var level = w * softplus;
    if POS_WEIGHT {
        w_positive = w * bitcast<f32>(positive_weight);
        // Two forms of the same term: near 1 the first keeps the target's digits; far from it the second avoids ∞ − ∞.
        let is_far = (label & MAGNITUDE) > FAR_TARGET;
        let near_level = (w * negative + w_positive * t) * softplus;
        level = select(near_level, level + max(t * softplus, LOWEST) * (w_positive - w), is_far);
    }
    let target_below = select(negative, t, below);
    let is_large = abs(target_below) > 1.0;
    let weighted = max(select(w, w_positive, below) * select(target_below, height, is_large), LOWEST);
    let loss = level + weighted * select(height, target_below, is_large);
    let slope = max(w * select(near, far, below), 0.0) * scale * negative
        - max(w_positive * select(far, near, below), 0.0) * scale * t;

    let is_infinite = (magnitude == INFINITY) & !no_weight & !select(no_negative, no_positive, below);
    let flags = select(0u, NAN_LOGIT, magnitude > INFINITY)
        | select(0u, INVALID_TARGET, !is_finite(label))
        | select(0u, INVALID_WEIGHT, !(is_weight(weight) & is_weight(positive_weight)))
        | select(0u, INFINITE_LOSS << (bitcast<u32>(target_below) >> 31u), is_infinite);
    return ClassTerm(select(loss, 0.0, no_weight), select(slope, 0.0, no_weight), flags);
}

// What an invocation has summed so far. Sums of 16, of 256, of 4,096 values and of the rest are kept separately. In a
// row of equal losses all rounding goes one way, and this keeps it from growing with the row.
struct Taken {
    sums: vec4<f32>,
    count: u32,
    flags: u32,
}

var<private> taken: Taken;

// This has no branch, because it is inlined many times.
fn take(term: ClassTerm) {
    let count = taken.count + 1u;
    var sums = taken.sums;
    sums.x += term.loss;
    let full = (vec3(count) & vec3(15u, 255u, 4095u)) == vec3(0u);
    sums.y += select(0.0, sums.x, full.x);
    sums.z += select(0.0, sums.y, full.y);
    sums.w += select(0.0, sums.z, full.z);
    taken = Taken(select(sums, vec4(0.0), vec4(full, false)), count, taken.flags | term.flags);
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
