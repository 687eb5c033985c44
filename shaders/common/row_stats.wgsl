// One read of a row: its maximum and the sum of exponentials relative to it, as a monoid (identity, combine) that
// invocations fold block by block and the workgroup folds as a tree.
//
// The maximum is kept as an order key: an i32 that sorts as the floats do, −0 equal to +0, every NaN on top. One
// integer max then finds the maximum, a +∞, a NaN and a row of nothing but −∞, exactly, on adapters whose float max
// drops NaN and whose comparisons flush denormals.
//
// exp(x − max) never overflows, and it is computed as exp2 with the factor applied behind the subtraction: scaling
// x itself would lose everything when logits share an offset of 1e6.

override TRACK_ARGMAX: bool = false;
override MASKED_ROW_ZERO: bool = false; // a row of nothing but −∞ gives zeros; else NaN

const STEP_QUADS: u32 = 4u;    // quads an invocation loads before it uses the first: one rescale of the sum a step
const CHUNK_STEPS: u32 = 64u;  // steps summed apart, so that rounding grows with the root of the row and not with it

const LOG2_E: f32 = 1.4426950408889634;
const KEY_NONE: i32 = -2147483648;
const KEY_NEG_INFINITY: i32 = -2139095040;
const KEY_LOWEST: i32 = -2139095039; // −3.40282347e38
const KEY_INFINITY: i32 = 2139095040;
const KEY_NAN: i32 = 2147483647;

struct RowStats {
    key: i32,      // order key of the maximum
    sum_exp: f32,  // Σ exp(x − row_max)
    position: u32, // where the maximum is, if TRACK_ARGMAX: a column, or the first column of a step that has it
}

fn order_keys(bits: vec4<u32>) -> vec4<i32> {
    let signed = bitcast<vec4<i32>>(bits);
    let keys = select(signed, vec4(KEY_NONE) - signed, signed < vec4(0));
    return select(keys, vec4(KEY_NAN), (bits & vec4(MAGNITUDE)) > vec4(INFINITY));
}

fn order_key(bits: u32) -> i32 {
    return order_keys(vec4(bits)).x;
}

// The float a key stands for, at least the lowest finite one: x − row_max is then never ∞ − ∞.
fn row_max(key: i32) -> f32 {
    let floor = max(key, KEY_LOWEST);
    return bitcast<f32>(select(floor, KEY_NONE - floor, floor < 0));
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

fn stats_of_value(bits: u32, col: u32) -> RowStats {
    let key = order_key(bits);
    return RowStats(key, scaled_exp(bitcast<f32>(bits), row_max(key)), col);
}

fn with_quad(stats: RowStats, quad: vec4<u32>, col: u32) -> RowStats {
    let keys = order_keys(quad);
    let key = max(stats.key, max(max(keys.x, keys.y), max(keys.z, keys.w)));
    let maximum = row_max(key);
    let exps = scaled_exps(bitcast<vec4<f32>>(quad), maximum);
    let sum = (exps.x + exps.y) + (exps.z + exps.w);
    return RowStats(key, rescaled(stats, maximum) + sum, select(stats.position, col, key > stats.key));
}

fn with_step(stats: RowStats, a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>, col: u32) -> RowStats {
    let keys = max(max(order_keys(a), order_keys(b)), max(order_keys(c), order_keys(d)));
    let key = max(stats.key, max(max(keys.x, keys.y), max(keys.z, keys.w)));
    let maximum = row_max(key);
    let exps = (scaled_exps(bitcast<vec4<f32>>(a), maximum) + scaled_exps(bitcast<vec4<f32>>(b), maximum))
        + (scaled_exps(bitcast<vec4<f32>>(c), maximum) + scaled_exps(bitcast<vec4<f32>>(d), maximum));
    let sum = (exps.x + exps.y) + (exps.z + exps.w);
    return RowStats(key, rescaled(stats, maximum) + sum, select(stats.position, col, key > stats.key));
}

fn with_value(stats: RowStats, span: RowSpan, col: u32) -> RowStats {
    return combine(stats, stats_of_value(load_logit(span.start + col), col));
}

// One invocation's part of the row, columns in rising order: the first of equal maxima stays.
fn sweep_stats(span: RowSpan, lane: u32) -> RowStats {
    var stats = identity();
    for (var col = lane; col < span.head; col += LANES) {
        stats = with_value(stats, span, col);
    }
    let full_steps = span.quads / (STEP_QUADS * LANES);
    var step = 0u;
    while step < full_steps {
        let chunk_end = min(step + CHUNK_STEPS, full_steps);
        var chunk = identity();
        for (; step < chunk_end; step++) {
            let q = step * STEP_QUADS * LANES + lane;
            let at = span.first_quad + q;
            let a = load_quad(at);
            let b = load_quad(at + LANES);
            let c = load_quad(at + 2u * LANES);
            let d = load_quad(at + 3u * LANES);
            chunk = with_step(chunk, a, b, c, d, span.head + 4u * q);
        }
        stats = combine(stats, chunk);
    }
    for (var q = full_steps * STEP_QUADS * LANES + lane; q < span.quads; q += LANES) {
        stats = with_quad(stats, load_quad(span.first_quad + q), span.head + 4u * q);
    }
    for (var col = span.head + 4u * span.quads + lane; col < params.cols; col += LANES) {
        stats = with_value(stats, span, col);
    }
    if TRACK_ARGMAX {
        stats.position = first_of_step(stats, span);
    }
    return stats;
}

// The lowest column with the maximum in the step that `position` names; a column of head or tail names itself.
fn first_of_step(stats: RowStats, span: RowSpan) -> u32 {
    if stats.position < span.head || stats.position >= span.head + 4u * span.quads {
        return stats.position;
    }
    var first = NO_CLASS;
    var q = (stats.position - span.head) / 4u;
    for (var i = 0u; i < STEP_QUADS && q < span.quads; i++) {
        let col = span.head + 4u * q;
        let hits = order_keys(load_quad(span.first_quad + q)) == vec4(stats.key);
        let cols = select(vec4(NO_CLASS), vec4(col, col + 1u, col + 2u, col + 3u), hits);
        first = min(first, min(min(cols.x, cols.y), min(cols.z, cols.w)));
        q += LANES;
    }
    return first;
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
