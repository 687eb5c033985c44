// Uses: params, seat, row_span, score, order_key, teacher, pair_stats

// The first sweep over a row of two batches: it adds columns, quads and whole steps to a lane's stats.

// What a few columns add to the sums, relative to the stats' bases.
struct QuadSums {
    student: vec4<f32>,
    teacher: vec4<f32>,
    cross: vec4<f32>,
}

fn sum_of(values: vec4<f32>) -> f32 {
    return (values.x + values.y) + (values.z + values.w);
}

fn plus(a: QuadSums, b: QuadSums) -> QuadSums {
    return QuadSums(a.student + b.student, a.teacher + b.teacher, a.cross + b.cross);
}

fn quad_sums(stats: PairStats, x: vec4<u32>, b: vec4<u32>) -> QuadSums {
    let x_below = quarters_below(x, stats.student.base);
    let b_below = quarters_below(b, stats.teacher.base);
    let f = roots(x, x_below);
    let e = roots(b, b_below); // 0 for a class that is impossible for the teacher
    return QuadSums(f * f, e * e, e * (e * quarters_apart(b_below, x_below)));
}

// Whether a class is possible for the teacher and not for the student.
fn is_infinite_at(x: vec4<u32>, b: vec4<u32>) -> bool {
    return any((x == vec4(NEG_INFINITY)) & (b != vec4(NEG_INFINITY)));
}

// A side that is ready to take logits whose largest has this key.
fn followed(side: Side, largest: i32) -> Side {
    let key = max(side.key, largest);
    let maximum = row_max(key);
    let leaps = (0.5 * maximum - 0.5 * side.base) * params.exp_scale > 0.5 * SLACK;
    return Side(key, select(side.base, maximum, leaps), side.sum);
}

fn ready_for(stats: PairStats, x_key: i32, b_key: i32) -> PairStats {
    let student = followed(stats.student, x_key);
    let teacher = followed(stats.teacher, b_key);
    var next = moved(stats, student.base, teacher.base);
    next.student.key = student.key;
    next.teacher.key = teacher.key;
    return next;
}

fn with_sums(stats: PairStats, sums: QuadSums) -> PairStats {
    var next = stats;
    next.student.sum += sum_of(sums.student);
    next.teacher.sum += sum_of(sums.teacher);
    next.cross += sum_of(sums.cross);
    return next;
}

fn with_quads(stats: PairStats, x: vec4<u32>, b: vec4<u32>) -> PairStats {
    var ready = ready_for(stats, largest_key(x, x, x, x), largest_key(b, b, b, b));
    ready.infinite |= u32(is_infinite_at(x, b));
    return with_sums(ready, quad_sums(ready, x, b));
}

alias Swept = RowSpan;

// One column: the other three of its quad are impossible in both.
fn with_col(stats: PairStats, span: RowSpan, col: u32) -> PairStats {
    let x = vec4(score(span, col), NEG_INFINITY, NEG_INFINITY, NEG_INFINITY);
    let b = vec4(teacher_logit(span, col), NEG_INFINITY, NEG_INFINITY, NEG_INFINITY);
    return with_quads(stats, x, b);
}

fn student_at(span: RowSpan, quad: u32) -> vec4<u32> {
    return raw_pack(span, quad).a;
}

fn teacher_at(span: RowSpan, quad: u32) -> vec4<u32> {
    return teacher_quad(span, pack_col(span, quad));
}

fn with_quad(stats: PairStats, span: RowSpan, quad: u32) -> PairStats {
    return with_quads(stats, student_at(span, quad), teacher_at(span, quad));
}

// The four quads of a lane's step.
fn with_step(stats: PairStats, span: RowSpan, quad: u32) -> PairStats {
    let x0 = student_at(span, quad);
    let x1 = student_at(span, quad + LANES);
    let x2 = student_at(span, quad + 2u * LANES);
    let x3 = student_at(span, quad + 3u * LANES);
    let b0 = teacher_at(span, quad);
    let b1 = teacher_at(span, quad + LANES);
    let b2 = teacher_at(span, quad + 2u * LANES);
    let b3 = teacher_at(span, quad + 3u * LANES);
    var ready = ready_for(stats, largest_key(x0, x1, x2, x3), largest_key(b0, b1, b2, b3));
    if highest_bits(x0, x1, x2, x3) >= NEG_INFINITY { // else the student has no impossible class
        let first = is_infinite_at(x0, b0) | is_infinite_at(x1, b1);
        ready.infinite |= u32(first | is_infinite_at(x2, b2) | is_infinite_at(x3, b3));
    }
    let first = plus(quad_sums(ready, x0, b0), quad_sums(ready, x1, b1));
    let second = plus(quad_sums(ready, x2, b2), quad_sums(ready, x3, b3));
    return with_sums(ready, plus(first, second));
}
