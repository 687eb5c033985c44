// Uses: params, seat, row_span, order_key, lane_tree, sums, entmax_lists, entmax_terms

// The threshold of α-entmax (Peters, Niculae, Martins 2019, arXiv:1905.05702; α = 2 is sparsemax), found without a sort:
//
//     p_j = (θ − u_j)₊^r,     u_j = (α − 1)·(max x − x_j),     r = 1 / (α − 1),     θ ≤ 1 such that the sum is 1
//
// A class with u ≥ 1 has probability 0, whatever the others are. The first sweep finds the maximum, and each lane keeps a list
// of its classes that may be above the threshold. The sums at a θ are over these lists. Only a lane with more such classes than
// its list holds reads its part of the row again, and lists anew what the smaller θ has left.
//
// For α ≤ 2, the r-norm N of (θ − u)₊ is convex in θ, so that Newton's steps for N = 1 from θ = 1 fall towards the root, and
// past it only by rounding. If all classes of the support are equal, the first step ends there. For α > 2, bits of θ are halved.

override MASKED_ROW_ZERO: bool; // a row of only −∞ gives zeros; else NaN

const ROUNDS: u32 = 64u;
const GROUP: u32 = 16u;       // lanes that are summed separately
const TOLERANCE: f32 = 4e-7;  // the smallest step, relative to θ
const DIVIDED: f32 = 1e-5;    // the largest distance of the sum from 1 that a division removes
const SLACK: f32 = 2e-7;      // what a θ up to 1 may be short of the root by rounding

var<workgroup> lane_sums: array<vec4<f32>, INVOCATIONS>;
var<workgroup> open_round: atomic<u32>;
var<workgroup> last_open: u32;

// A search for θ. The sums are those at `high`, which is θ in the end.
struct Search {
    is_open: bool,
    theta: f32, // the next one
    high: f32,
    low: u32,   // bits of a lower bound
    sums: vec4<f32>,
}

// Whether the power function of the margins is too steep for Newton's method.
fn halves_bits() -> bool {
    return ENTMAX_POWER == 0u && params.entmax_power < 1.0;
}

// Classes with u from this on are in the support at no later θ.
fn list_limit(search: Search) -> f32 {
    return select(search.theta, search.high, halves_bits()) * (1.0 + 1e-6) + SLACK;
}

// One round, from the sums at θ.
fn next_search(search: Search, sums: vec4<f32>) -> Search {
    var next = search;
    if halves_bits() {
        if sums.x >= 1.0 {
            next.high = search.theta;
            next.sums = sums;
        } else {
            next.low = bitcast<u32>(search.theta);
        }
        let high = bitcast<u32>(next.high);
        next.theta = bitcast<f32>(next.low + (high - next.low) / 2u);
        next.is_open = high - next.low > 1u;
        return next;
    }
    next.high = search.theta;
    next.sums = sums;
    // (N − 1) / N', with f = N^r.
    var excess = sums.x - 1.0;
    if ENTMAX_POWER == 2u {
        excess = sums.x - sqrt(sums.x);
    } else if ENTMAX_POWER == 0u {
        excess = sums.x - sums.x * exp2(-params.entmax_slope * log2(sums.x));
    }
    let step = excess / sums.y;
    next.theta = search.theta - step;
    next.is_open = abs(step) > TOLERANCE * search.theta;
    return next;
}

// The sum over a row's lanes, in each of them, in a fixed order. Call this in uniform control flow.
fn over_row(own: vec4<f32>, seat: Seat) -> vec4<f32> {
    let at = seat.first + seat.lane;
    lane_sums[at] = own;
    workgroupBarrier();
    var lanes = LANES;
    if LANES > GROUP {
        lanes = LANES / GROUP;
        var sum = vec4(0.0);
        if seat.lane < lanes {
            for (var i = 0u; i < GROUP; i++) {
                sum += lane_sums[at + i * lanes];
            }
        }
        workgroupBarrier();
        if seat.lane < lanes {
            lane_sums[at] = sum;
        }
        workgroupBarrier();
    }
    var total = vec4(0.0);
    for (var i = 0u; i < lanes; i++) {
        total += lane_sums[seat.first + i];
    }
    return total;
}

struct Threshold {
    flags: u32,
    base: f32,        // the maximum
    theta: f32,
    inverse_sum: f32, // 1 / Σ (θ − u)₊^r
    mean_below: f32,  // Σ p·u
    factor: f32,      // what the powers are multiplied by
}

// The value that fills a row with flags: NaN, or zeros for a row of only −∞ under MASKED_ROW_ZERO.
fn special_bits(flags: u32) -> u32 {
    return select(NAN, 0u, flags == MASKED_ROW && MASKED_ROW_ZERO);
}

// A row's threshold, for each of its lanes. Call this in uniform control flow, once. The row is read only if `reads`.
fn row_threshold(span: RowSpan, seat: Seat, reads: bool) -> Threshold {
    let place = seat.first + seat.lane;
    begin_list(seat);
    if place == 0u {
        atomicStore(&open_round, 0u);
    }
    var own = identity();
    if reads {
        own = sweep_classes(span, seat.lane);
    }
    let key = over_lanes(own, seat.first, seat.lane, LANES);
    let flags = key_flags(key);
    let base = row_max(key);
    measure_list(base);
    var search = Search(reads && flags == 0u, 1.0, 1.0, 0u, vec4(1.0));
    if LANES == 1u {
        for (var round = 0u; round < ROUNDS && search.is_open; round++) {
            search = next_search(search, terms_at(span, seat.lane, base, search.theta, list_limit(search)));
        }
    } else {
        for (var round = 1u; round <= ROUNDS; round++) {
            var sums = vec4(0.0);
            if search.is_open {
                sums = terms_at(span, seat.lane, base, search.theta, list_limit(search));
            }
            sums = over_row(sums, seat);
            if search.is_open {
                search = next_search(search, sums);
            }
            if seat.lane == 0u && search.is_open {
                atomicStore(&open_round, round);
            }
            workgroupBarrier();
            if place == 0u {
                last_open = atomicLoad(&open_round);
            }
            if workgroupUniformLoad(&last_open) != round {
                break;
            }
        }
    }
    let inverse_sum = 1.0 / search.sums.x;
    // With thousands of classes near the threshold, the next number beside θ has another sum. Dividing by that would put their
    // error into the large probabilities.
    let divides = halves_bits() || abs(search.sums.x - 1.0) <= DIVIDED;
    let factor = select(1.0, inverse_sum, divides);
    return Threshold(flags, base, search.high, inverse_sum, search.sums.z * inverse_sum, factor);
}

// The probabilities of four scores.
fn entmax_probs(scores: vec4<u32>, base: f32, theta: f32, factor: f32) -> vec4<f32> {
    return powers(vec4(theta) - below_max(scores, base)) * factor;
}
