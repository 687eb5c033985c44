// Uses: params, seat, element, pack, row_span, lane_tree, sweep_packs, pair_weights

// The sum that one read of a row of pairs gives. A pair is a gradient and the probability (or log-probability) to which
// it belongs. The sum is a monoid that invocations fold chunk by chunk and the lanes of a row fold as a tree. The
// gradient takes the place of the logits; the probabilities are a second array of the same type.

override LOG_PROBS: bool; // the second array is log-probabilities

@group(0) @binding(4) var<storage, read> probs: array<u32>;
@group(0) @binding(5) var<storage, read> prob_packs: array<Pack>; // the same buffer, a pack per load

const LOG2_E: f32 = 1.4426950408889634;

// Marks: what occurs in a row.
const NOT_A_NUMBER: u32 = 1u; // NaN or an infinity, except a log-probability of −∞
const POSSIBLE: u32 = 2u;     // a log-probability above −∞

struct PairSum {
    half: f32,  // Σ w·dp / 2 with the pass's weights w of the pairs; halves of f32 values do not overflow
    total: f32, // Σ w, if SUMS_WEIGHTS
    marks: u32,
}

alias LaneSum = PairSum;
alias Swept = RowSpan;

fn prob_at(span: RowSpan, col: u32) -> u32 {
    let index = span.second + col_offset(col);
    return widened(probs[index / LOGITS_PER_WORD], index % LOGITS_PER_WORD);
}

// Four columns of the second array, loaded one by one. One outside the row has some value of the row.
fn prob_quad(span: RowSpan, col: u32) -> vec4<u32> {
    let cols = min(four_cols(col), vec4(params.cols - 1u));
    return vec4(prob_at(span, cols.x), prob_at(span, cols.y), prob_at(span, cols.z), prob_at(span, cols.w));
}

// A pack's columns in the second array.
fn second_pack(span: RowSpan, pack: u32) -> QuadPair {
    if is_second_pack(span, pack) {
        return unpacked(prob_packs[span.second / PACK_VALUES + pack]);
    }
    let col = pack_col(span, pack);
    var pair = QuadPair(prob_quad(span, col), vec4(0u));
    if PACKED {
        pair.b = prob_quad(span, col + 4u);
    }
    return pair;
}

fn with_term(sum: PairSum, gradients: vec4<u32>, seconds: vec4<u32>, term: vec4<f32>) -> PairSum {
    var next = sum;
    next.half += (term.x + term.y) + (term.z + term.w);
    let infinite = (seconds & vec4(MAGNITUDE)) >= vec4(INFINITY);
    var special = infinite;
    if LOG_PROBS {
        let impossible = seconds == vec4(NEG_INFINITY);
        special = infinite & !impossible;
        if !all(impossible) {
            next.marks |= POSSIBLE;
        }
    }
    if any(special | ((gradients & vec4(MAGNITUDE)) >= vec4(INFINITY))) {
        next.marks |= NOT_A_NUMBER;
    }
    return next;
}

fn with_pairs(sum: PairSum, gradients: vec4<u32>, seconds: vec4<u32>) -> PairSum {
    let weights = pair_weights(seconds);
    var next = with_term(sum, gradients, seconds, weights * (0.5 * bitcast<vec4<f32>>(gradients)));
    if SUMS_WEIGHTS {
        next.total += (weights.x + weights.y) + (weights.z + weights.w);
    }
    return next;
}

fn identity() -> PairSum {
    return PairSum(0.0, 0.0, 0u);
}

fn combine(a: PairSum, b: PairSum) -> PairSum {
    return PairSum(a.half + b.half, a.total + b.total, a.marks | b.marks);
}

// What adds nothing: zeros, or −∞ for log-probabilities, which marks nothing as possible.
fn outside_row() -> vec2<u32> {
    return vec2(0u, select(0u, NEG_INFINITY, LOG_PROBS));
}

fn with_pack(sum: PairSum, pair: PackPair) -> PairSum {
    let next = with_pairs(sum, pair.first.a, pair.second.a);
    if PACKED {
        return with_pairs(next, pair.first.b, pair.second.b);
    }
    return next;
}

// The four quads of a lane's step.
fn with_step(sum: PairSum, span: RowSpan, pack: u32) -> PairSum {
    let ab = step_pair(span, pack);
    let cd = step_pair(span, pack + HALF_PACKS * LANES);
    let a = with_pairs(identity(), ab.first.a, ab.second.a);
    let b = with_pairs(identity(), ab.first.b, ab.second.b);
    let c = with_pairs(identity(), cd.first.a, cd.second.a);
    let d = with_pairs(identity(), cd.first.b, cd.second.b);
    return combine(sum, combine(combine(a, b), combine(c, d)));
}

var<workgroup> lane_sums: array<PairSum, INVOCATIONS>;

fn put_lane(at: u32, sum: PairSum) {
    lane_sums[at] = sum;
}

fn lane_at(at: u32) -> PairSum {
    return lane_sums[at];
}

// The whole row's sum, for each of its lanes. Call this in uniform control flow, once. The row is read only if `reads`.
fn row_pairs(span: RowSpan, seat: Seat, reads: bool) -> PairSum {
    var sum = identity();
    if reads {
        sum = sweep_packs(span, span, seat.lane);
    }
    return over_lanes(sum, seat.first, seat.lane, LANES);
}
