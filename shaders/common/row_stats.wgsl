// Uses: params, trusts_floats, seat, row_span, score, cap, order_key, lane_tree, stats, readout

// The stats that one read of a row gives: its maximum, the sum of exponentials relative to it, and sums over its
// target. They are a monoid (identity, combine) that invocations fold step by step and the lanes of a row fold as a
// tree.
//
// exp((s − max) / T) never overflows. It is computed as exp2, with the factor applied after the subtraction: scaling s
// itself would lose all digits when logits share an offset of 1e6. Scores may be 6.8e38 apart, which f32 cannot hold.
// If the temperature is so large that classes so far below still have a probability, the difference is taken between
// halves.
//
// While the maximum is not known yet, sums are relative to a base that follows it in leaps of more than SLACK. If the base
// followed at once, a row that rises gently would be rescaled at every step, and the errors of an adapter's exp2 would add
// up. After a leap, the sum before it has less than half of its weight.
//
// With EXCLUDE_TARGET, the sum is that of the other classes. Where the target is nearly certain, its loss is ln(1 + that sum)
// and its gradient is minus that sum. From the sum of all classes, both would be differences of almost equal numbers.

override MASKED_ROW_ZERO: bool;   // a row of only −∞ gives zeros; else NaN
override TARGET_SUMS: bool;       // also sum over the target's weights ω: smoothing, soft targets
override EXCLUDE_TARGET: bool;    // leave the target's class out of the sum of exponentials
override HALVE_DIFFERENCES: bool; // scores further apart than f32's largest number may matter

const LOG2_E: f32 = 1.4426950408889634;
const SLACK: f32 = LOG2_E; // in units of exp2's argument: a factor of e

// Marks of a row whose target's weights make it special.
const MASS_AT_NEG_INFINITY: u32 = 1u; // a mass above 0 at −∞
const TARGET_NOT_FINITE: u32 = 2u;
const BAD_WEIGHT: u32 = 4u;
const MINUS_MASS_AT_NEG_INFINITY: u32 = 8u;

struct RowStats {
    key: i32,      // order key of the maximum of the scores before the cap
    base: f32,     // at least the maximum − SLACK
    sum_exp: f32,  // Σ exp((s − base) / T), without the target's class if EXCLUDE_TARGET
    position: u32, // where the maximum is, if TRACK_ARGMAX: a column; during the sweep, the first pack of the step that has it
    mass: f32,     // Σ ω
    distance: f32, // Σ ω·(base − s) over scores above −∞, times params.distance_scale, so that it does not overflow
    marks: u32,
    readouts: Readouts, // what else the sweep sums, if it was asked for
}

alias LaneSum = RowStats;

// log2(e) / T, read from the uniform once, because an adapter reads a uniform again after every store.
var<private> exp_scale: f32;
var<private> distance_scale: f32;

// (s − base) / T · log2(e), which may be −∞.
fn differences(s: vec4<f32>, base: f32) -> vec4<f32> {
    if HALVE_DIFFERENCES {
        return (0.5 * s - vec4(0.5 * base)) * params.twice_exp_scale;
    } else {
        return (s - vec4(base)) * exp_scale;
    }
}

// The same, but finite. Below −150, exp2 is 0 in f32.
fn exponents(s: vec4<f32>, base: f32) -> vec4<f32> {
    return max(differences(s, base), vec4(-150.0));
}

// exp((s − base) / T).
fn scaled_exps(s: vec4<f32>, base: f32) -> vec4<f32> {
    return exp2_or_zero(differences(s, base));
}

fn scaled_exp(s: f32, base: f32) -> f32 {
    return scaled_exps(vec4(s), base).x;
}

// exp((s − base) / T) of four scores as bits; 0 if a class is impossible.
fn score_exps(scores: vec4<u32>, base: f32) -> vec4<f32> {
    let exps = scaled_exps(capped(bitcast<vec4<f32>>(scores)), base);
    if SOFTCAP || !TRUSTS_FLOATS { // the cap of −∞ is finite
        return select(exps, vec4(0.0), scores == vec4(NEG_INFINITY));
    }
    return exps;
}

// A score of the row as a number: capped, unless it comes with the row's stats, where it is capped already.
fn row_score(bits: u32) -> f32 {
    if GIVEN {
        return bitcast<f32>(bits);
    }
    return capped_one(bitcast<f32>(bits));
}

// The bits of the score of the row's target, −∞ if another shard has it.
fn target_score(span: RowSpan) -> u32 {
    if GIVEN {
        return given_target(span.row);
    }
    if span.target_col == NO_CLASS {
        return NEG_INFINITY;
    }
    return score(span, span.target_col);
}

fn maximum_of(key: i32) -> f32 {
    return row_score(bitcast<u32>(row_max(key)));
}

fn identity() -> RowStats {
    return RowStats(KEY_NONE, row_max(KEY_NONE), 0.0, NO_CLASS, 0.0, 0.0, 0u, no_readouts());
}

// The sum relative to another base. The select is there because an adapter's exp2(0) need not be 1.
fn rescaled(stats: RowStats, base: f32) -> f32 {
    return stats.sum_exp * select(scaled_exp(stats.base, base), 1.0, stats.base == base);
}

// A base, scaled for sums of distances. The max keeps a compiler from scaling the difference of two bases, which may
// overflow.
fn distance_base(base: f32) -> f32 {
    return max(base * distance_scale, LOWEST);
}

// The sum of distances from another base. Without mass there is no distance, however far the base moves.
fn moved(stats: RowStats, base: f32) -> f32 {
    let away = distance_base(base) - distance_base(stats.base);
    return stats.distance + select(stats.mass * away, 0.0, stats.mass == 0.0);
}

fn combine(a: RowStats, b: RowStats) -> RowStats {
    let key = max(a.key, b.key);
    let base = max(a.base, b.base);
    let higher = select(b.position, a.position, a.key > b.key);
    let position = select(higher, min(a.position, b.position), a.key == b.key);
    let a_readouts = rebased_readouts(a.readouts, a.base, base);
    let b_readouts = rebased_readouts(b.readouts, b.base, base);
    let readouts = both_readouts(a_readouts, b_readouts, a.key, b.key);
    var both = RowStats(key, base, rescaled(a, base) + rescaled(b, base), position, 0.0, 0.0, 0u, readouts);
    if TARGET_SUMS {
        both.mass = a.mass + b.mass;
        both.distance = moved(a, base) + moved(b, base);
        both.marks = a.marks | b.marks;
    }
    return both;
}

// The lanes' stats. Those of the target are separate, so that they cost nothing if no option needs them.
struct LaneStats {
    key: i32,
    base: f32,
    sum_exp: f32,
    position: u32,
}

struct LaneTarget {
    mass: f32,
    distance: f32,
    marks: u32,
}

var<workgroup> lane_stats: array<LaneStats, INVOCATIONS>;
var<workgroup> lane_targets: array<LaneTarget, INVOCATIONS>;

fn put_lane(at: u32, stats: RowStats) {
    lane_stats[at] = LaneStats(stats.key, stats.base, stats.sum_exp, stats.position);
    put_readouts(at, stats.readouts);
    if TARGET_SUMS {
        lane_targets[at] = LaneTarget(stats.mass, stats.distance, stats.marks);
    }
}

fn lane_at(at: u32) -> RowStats {
    let own = lane_stats[at];
    var stats = RowStats(own.key, own.base, own.sum_exp, own.position, 0.0, 0.0, 0u, readouts_at(at));
    if TARGET_SUMS {
        let of_target = lane_targets[at];
        stats.mass = of_target.mass;
        stats.distance = of_target.distance;
        stats.marks = of_target.marks;
    }
    return stats;
}

// The whole row's stats, for each of its lanes, with sums relative to the row's maximum. Call this in uniform control flow,
// once. The row is read only if `reads`.
fn row_stats(span: RowSpan, seat: Seat, reads: bool) -> RowStats {
    begin_row(seat);
    exp_scale = params.exp_scale;
    distance_scale = params.distance_scale;
    begin_readouts(span, seat, reads);
    var stats = identity();
    if reads {
        stats = sweep_stats(span, seat.lane);
    }
    stats = over_lanes(stats, seat.first, seat.lane, LANES);
    let maximum = maximum_of(stats.key);
    stats.sum_exp = rescaled(stats, maximum);
    if TARGET_SUMS {
        stats.distance = moved(stats, maximum);
    }
    stats.readouts = rebased_readouts(stats.readouts, stats.base, maximum);
    stats.base = maximum;
    return stats;
}

// The flags that follow from a row's maximum.
fn stats_flags(stats: RowStats) -> u32 {
    return key_flags(stats.key);
}

// The value that fills a row with flags: NaN, or `zero` for a row of only −∞ under MASKED_ROW_ZERO.
fn special_bits(flags: u32, zero: u32) -> u32 {
    return select(NAN, zero, flags == MASKED_ROW && MASKED_ROW_ZERO);
}

// ln Σ exp((s − max) / T). A sum of exactly 1 (one class, or one far above the rest) gives exactly 0.
fn ln_sum_exp(stats: RowStats) -> f32 {
    return select(log(stats.sum_exp), 0.0, stats.sum_exp == 1.0);
}

// A value of a row as bits. If the row's maximum is special, that takes its place.
fn unless_special(stats: RowStats, value: f32) -> u32 {
    switch stats_flags(stats) {
        case NAN_LOGIT: { return NAN; }
        case INFINITE_LOGIT: { return INFINITY; }
        case MASKED_ROW: { return NEG_INFINITY; }
        default: { return bitcast<u32>(value); }
    }
}

// lse = max / T + ln Σ exp((s − max) / T), as bits; like torch.logsumexp if a logit is special.
fn logsumexp_bits(stats: RowStats) -> u32 {
    return unless_special(stats, stats.base * params.inverse_temperature + ln_sum_exp(stats));
}
