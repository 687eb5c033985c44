// Uses: params, trusts_floats, seat, row_span, order_key, lane_tree, sweep_packs, teacher

// The stats that one read of a row of two batches gives, student x and teacher b: the maximum and the sum of
// exponentials of each, and a cross term that KL(q ‖ p) needs. They are a monoid (identity, combine). With the bases m
// (of x) and n (of b),
//
//     c_j = ((b_j − n) − (x_j − m)) / T,     KL = Σ q_j (ln q_j − ln p_j) = Σ e_j c_j / Σ e_j + ln (Σ f / Σ e),
//     e_j = exp((b_j − n) / T),  f_j = exp((x_j − m) / T)
//
// Each batch's own base is subtracted before the two are combined, so that an offset of either cancels exactly. Only one
// logarithm is taken, of a quotient that is near 1 if p is near q.
//
// Bases follow the maxima in leaps, as in common/row_stats.wgsl. When they move, every c_j moves by the same amount.
//
// An exponential is computed as the square of its root. A class that is almost impossible for the teacher (e below
// 1e-38) may be 3.4e38 below the others for the student, and root · (root · c) does not underflow on the way to their
// product.

override MASKED_ROW_ZERO: bool; // a row of only −∞, in either batch, gives zeros; else NaN

const LOG2_E: f32 = 1.4426950408889634;
const SLACK: f32 = LOG2_E; // in units of exp2's argument: a factor of e

// Quarters of differences do not overflow if logits are ±3.4e38, nor does a difference of two of them if bases lag
// behind the maxima. Scaled by this factor, 2^31 of them can be added.
const CROSS_SCALE: f32 = 4.656612873077393e-10; // 2^-31

struct Side {
    key: i32,  // order key of the maximum
    base: f32, // at least the maximum − SLACK
    sum: f32,  // Σ exp((s − base) / T)
}

struct PairStats {
    student: Side,
    teacher: Side,
    cross: f32,    // Σ e·((b − n) − (x − m)) / 4 · CROSS_SCALE over classes that are possible for both
    infinite: u32, // 1 if a class is possible for the teacher and not for the student: KL is +∞
}

// exp((s − base) / 2T) from the bits of scores, and quarters of their differences from the base. Below 2^−126 the square
// is 0; unless floats are trusted, this limit keeps −∞ out of exp2.
fn roots(scores: vec4<u32>, quarters: vec4<f32>) -> vec4<f32> {
    let exponents = quarters * params.twice_exp_scale;
    if TRUSTS_FLOATS {
        return exp2(exponents);
    }
    return select(exp2(max(exponents, vec4(-126.0))), vec4(0.0), scores == vec4(NEG_INFINITY));
}

fn root(quarter: f32) -> f32 {
    return exp2(max(quarter * params.twice_exp_scale, -126.0));
}

// Quarters of the differences from the base, which may be −∞.
fn quarters_below(bits: vec4<u32>, base: f32) -> vec4<f32> {
    return 0.25 * bitcast<vec4<f32>>(bits) - vec4(0.25 * base);
}

// ((b − n) − (x − m)) / 4, scaled, from quarters. The max keeps −∞ out. It also keeps a compiler that reassociates from
// adding b − n − x + m in another order, which would round away the differences between two batches whose offsets differ.
fn quarters_apart(b_below: vec4<f32>, x_below: vec4<f32>) -> vec4<f32> {
    return (max(b_below, vec4(LOWEST)) - max(x_below, vec4(LOWEST))) * CROSS_SCALE;
}

// A quarter of the distance that a base moves up, with a max for the same reason.
fn quarter_move(from_base: f32, to_base: f32) -> f32 {
    return max(0.25 * to_base - 0.25 * from_base, 0.0);
}

fn identity() -> PairStats {
    let none = Side(KEY_NONE, row_max(KEY_NONE), 0.0);
    return PairStats(none, none, 0.0, 0u);
}

// The root of a sum's factor when its base moves. The select is there because an adapter's exp2(0) need not be 1.
fn root_of_move(from_base: f32, to_base: f32) -> f32 {
    return select(root(-quarter_move(from_base, to_base)), 1.0, from_base == to_base);
}

// The same stats relative to other bases.
fn moved(stats: PairStats, student_base: f32, teacher_base: f32) -> PairStats {
    let f = root_of_move(stats.student.base, student_base);
    let e = root_of_move(stats.teacher.base, teacher_base);
    let away = quarter_move(stats.student.base, student_base) - quarter_move(stats.teacher.base, teacher_base);
    // Without mass there is no distance, however far the bases move. The max keeps a compiler from multiplying by the small
    // factor last.
    let scaled = max(away * CROSS_SCALE, LOWEST);
    let cross = stats.cross + select(stats.teacher.sum * scaled, 0.0, stats.teacher.sum == 0.0);
    return PairStats(
        Side(stats.student.key, student_base, f * (f * stats.student.sum)),
        Side(stats.teacher.key, teacher_base, e * (e * stats.teacher.sum)),
        e * (e * cross),
        stats.infinite,
    );
}

fn combine(a: PairStats, b: PairStats) -> PairStats {
    let student_base = max(a.student.base, b.student.base);
    let teacher_base = max(a.teacher.base, b.teacher.base);
    let left = moved(a, student_base, teacher_base);
    let right = moved(b, student_base, teacher_base);
    return PairStats(
        Side(max(a.student.key, b.student.key), student_base, left.student.sum + right.student.sum),
        Side(max(a.teacher.key, b.teacher.key), teacher_base, left.teacher.sum + right.teacher.sum),
        left.cross + right.cross,
        a.infinite | b.infinite,
    );
}

alias LaneSum = PairStats;

var<workgroup> lane_pairs: array<PairStats, INVOCATIONS>;

fn put_lane(at: u32, stats: PairStats) {
    lane_pairs[at] = stats;
}

fn lane_at(at: u32) -> PairStats {
    return lane_pairs[at];
}

// The whole row's stats, for each of its lanes, relative to the row's maxima. Call this in uniform control flow, once. The
// rows are read only if `reads`.
fn pair_stats(span: RowSpan, seat: Seat, reads: bool) -> PairStats {
    var stats = identity();
    if reads {
        begin_teacher(span);
        stats = sweep_packs(span, span, seat.lane);
    }
    stats = over_lanes(stats, seat.first, seat.lane, LANES);
    return moved(stats, row_max(stats.student.key), row_max(stats.teacher.key));
}

// The flags that follow from the maxima: the worse of both batches.
fn pair_flags(stats: PairStats) -> u32 {
    let highest = max(stats.student.key, stats.teacher.key);
    if highest == KEY_NAN { return NAN_LOGIT; }
    if highest == KEY_INFINITY { return INFINITE_LOGIT; }
    if min(stats.student.key, stats.teacher.key) == KEY_NEG_INFINITY { return MASKED_ROW; }
    return 0u;
}

// The value that fills a row with flags: NaN, or zero for a row of only −∞ under MASKED_ROW_ZERO.
fn special_bits(flags: u32) -> u32 {
    return select(NAN, 0u, flags == MASKED_ROW && MASKED_ROW_ZERO);
}

// ln (a / b), exactly 0 if a and b are equal.
fn ln_quotient(a: f32, b: f32) -> f32 {
    return select(log(a / b), 0.0, a == b);
}
