// What one read of a row tells: its maximum and the sum of exponentials relative to it, as a monoid (identity, combine)
// that invocations fold step by step and the workgroup folds as a tree.
//
// exp(x − max) never overflows, and it is computed as exp2 with the factor applied behind the subtraction: scaling
// x itself would lose everything when logits share an offset of 1e6.
//
// While the maximum is not known yet, the sum is relative to a base that follows it in leaps of more than SLACK. In a row
// that rises gently a sum that followed at once would be rescaled at every step, and the errors of an adapter's exp2
// would add up; behind a leap, what was summed before weighs less than half.

override MASKED_ROW_ZERO: bool = false; // a row of nothing but −∞ gives zeros; else NaN

const LOG2_E: f32 = 1.4426950408889634;
const SLACK: f32 = 1.0;

struct RowStats {
    key: i32,      // order key of the maximum
    base: f32,     // at least the maximum − SLACK
    sum_exp: f32,  // Σ exp(x − base)
    position: u32, // where the maximum is, if TRACK_ARGMAX: a column, or the first column of a step that has it
}

// exp(x − base). Below 2^−150 every f32 is 0; the bound keeps −∞ out of exp2.
fn scaled_exps(x: vec4<f32>, base: f32) -> vec4<f32> {
    return exp2(max((x - vec4(base)) * LOG2_E, vec4(-150.0)));
}

fn scaled_exp(x: f32, base: f32) -> f32 {
    return exp2(max((x - base) * LOG2_E, -150.0));
}

fn identity() -> RowStats {
    return RowStats(KEY_NONE, row_max(KEY_NONE), 0.0, NO_CLASS);
}

// The sum relative to another base. An adapter's exp2(0) need not be 1.
fn rescaled(stats: RowStats, base: f32) -> f32 {
    return stats.sum_exp * select(scaled_exp(stats.base, base), 1.0, stats.base == base);
}

fn combine(a: RowStats, b: RowStats) -> RowStats {
    let key = max(a.key, b.key);
    let base = max(a.base, b.base);
    let higher = select(b.position, a.position, a.key > b.key);
    let position = select(higher, min(a.position, b.position), a.key == b.key);
    return RowStats(key, base, rescaled(a, base) + rescaled(b, base), position);
}

var<workgroup> lane_stats: array<RowStats, LANES>;

// The whole row's stats, for every invocation, the sum relative to the row's maximum. To be called in uniform control
// flow, once.
fn row_stats(span: RowSpan, lane: u32) -> RowStats {
    lane_stats[lane] = sweep_stats(span, lane);
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            lane_stats[lane] = combine(lane_stats[lane], lane_stats[lane + half]);
        }
        workgroupBarrier();
    }
    let stats = lane_stats[0];
    let maximum = row_max(stats.key);
    return RowStats(stats.key, maximum, rescaled(stats, maximum), stats.position);
}

// What a row's maximum says about it.
fn stats_flags(stats: RowStats) -> u32 {
    if stats.key == KEY_NAN { return NAN_LOGIT; }
    if stats.key == KEY_INFINITY { return INFINITE_LOGIT; }
    if stats.key == KEY_NEG_INFINITY { return MASKED_ROW; }
    return 0u;
}

// What every value of a row with flags is: NaN, or what stands for zero where nothing but −∞ may give zeros.
fn special_bits(flags: u32, zero: u32) -> u32 {
    return select(NAN, zero, flags == MASKED_ROW && MASKED_ROW_ZERO);
}

// ln Σ exp(x − row_max). A sum of exactly 1 (one class, or one far above the rest) gives exactly 0.
fn ln_sum_exp(stats: RowStats) -> f32 {
    return select(log(stats.sum_exp), 0.0, stats.sum_exp == 1.0);
}

// lse = row_max + ln Σ exp(x − row_max), as bits; as torch.logsumexp where a logit is special.
fn logsumexp_bits(stats: RowStats) -> u32 {
    switch stats_flags(stats) {
        case NAN_LOGIT: { return NAN; }
        case INFINITE_LOGIT: { return INFINITY; }
        case MASKED_ROW: { return NEG_INFINITY; }
        default: { return bitcast<u32>(row_max(stats.key) + ln_sum_exp(stats)); }
    }
}
