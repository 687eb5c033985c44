// What one read of a row tells: its maximum and the sum of exponentials relative to it, as a monoid (identity, combine)
// that invocations fold step by step and the workgroup folds as a tree.
//
// exp(x − max) never overflows, and it is computed as exp2 with the factor applied behind the subtraction: scaling
// x itself would lose everything when logits share an offset of 1e6.

override MASKED_ROW_ZERO: bool = false; // a row of nothing but −∞ gives zeros; else NaN

const LOG2_E: f32 = 1.4426950408889634;

struct RowStats {
    key: i32,      // order key of the maximum
    sum_exp: f32,  // Σ exp(x − row_max)
    position: u32, // where the maximum is, if TRACK_ARGMAX: a column, or the first column of a step that has it
}

// exp(x − maximum) for x ≤ maximum. Below 2^−150 every f32 is 0; the bound keeps −∞ out of exp2.
fn scaled_exps(x: vec4<f32>, maximum: f32) -> vec4<f32> {
    return exp2(max((x - vec4(maximum)) * LOG2_E, vec4(-150.0)));
}

fn scaled_exp(x: f32, maximum: f32) -> f32 {
    return exp2(max((x - maximum) * LOG2_E, -150.0));
}

fn identity() -> RowStats {
    return RowStats(KEY_NONE, 0.0, NO_CLASS);
}

// A sum relative to another maximum. An adapter's exp2(0) need not be 1, and a sum is rescaled often.
fn rescaled(stats: RowStats, maximum: f32) -> f32 {
    let own = row_max(stats.key);
    return stats.sum_exp * select(scaled_exp(own, maximum), 1.0, own == maximum);
}

fn combine(a: RowStats, b: RowStats) -> RowStats {
    let key = max(a.key, b.key);
    let maximum = row_max(key);
    let higher = select(b.position, a.position, a.key > b.key);
    let position = select(higher, min(a.position, b.position), a.key == b.key);
    return RowStats(key, rescaled(a, maximum) + rescaled(b, maximum), position);
}

var<workgroup> lane_stats: array<RowStats, LANES>;

// The whole row's stats, for every invocation. To be called in uniform control flow, once.
fn row_stats(span: RowSpan, lane: u32) -> RowStats {
    lane_stats[lane] = sweep_stats(span, lane);
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            lane_stats[lane] = combine(lane_stats[lane], lane_stats[lane + half]);
        }
        workgroupBarrier();
    }
    return lane_stats[0];
}

// What a row's maximum says about it.
fn stats_flags(stats: RowStats) -> u32 {
    if stats.key == KEY_NAN { return NAN_LOGIT; }
    if stats.key == KEY_INFINITY { return INFINITE_LOGIT; }
    if stats.key == KEY_NEG_INFINITY { return MASKED_ROW; }
    return 0u;
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
