// Uses: params, seat, row_span, score, order_key, teacher, pair_stats

// The first sweep over a row of two batches: it adds columns, quads and whole steps to a lane's stats.

// What a few columns add to the sums, relative to the stats' bases.
struct QuadSums {
    student: vec4<f32>,
    teacher: vec4<f32>,
    cross: vec4<f32>,
    infinite: bool,
}

fn sum_of(values: vec4<f32>) -> f32 {
    return (values.x + values.y) + (values.z + values.w);
}

fn plus(a: QuadSums, b: QuadSums) -> QuadSums {
    return QuadSums(a.student + b.student, a.teacher + b.teacher, a.cross + b.cross, a.infinite || b.infinite);
}

fn quad_sums(stats: PairStats, x: vec4<u32>, b: vec4<u32>) -> QuadSums {
    let x_masked = x == vec4(NEG_INFINITY);
    let b_masked = b == vec4(NEG_INFINITY);
    let x_below = quarters_below(x, stats.student.base);
    let b_below = quarters_below(b, stats.teacher.base);
    let f = select(roots(x_below), vec4(0.0), x_masked);
    let e = select(roots(b_below), vec4(0.0), b_masked);
    let apart = select((b_below - x_below) * CROSS_SCALE, vec4(0.0), x_masked | b_masked);
    return QuadSums(f * f, e * e, e * (e * apart), any(x_masked & !b_masked));
}

// A side that is ready to take logits with these keys.
fn followed(side: Side, keys: vec4<i32>) -> Side {
    let key = max(side.key, max(max(keys.x, keys.y), max(keys.z, keys.w)));
    let maximum = row_max(key);
    let leaps = (0.5 * maximum - 0.5 * side.base) * params.exp_scale > 0.5 * SLACK;
    return Side(key, select(side.base, maximum, leaps), side.sum);
}

fn ready_for(stats: PairStats, x_keys: vec4<i32>, b_keys: vec4<i32>) -> PairStats {
    let student = followed(stats.student, x_keys);
    let teacher = followed(stats.teacher, b_keys);
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
    next.infinite |= u32(sums.infinite);
    return next;
}

fn with_quads(stats: PairStats, x: vec4<u32>, b: vec4<u32>) -> PairStats {
    let ready = ready_for(stats, order_keys(x), order_keys(b));
    return with_sums(ready, quad_sums(ready, x, b));
}

// A row of both batches: the span of the student's row, and the start of the teacher's.
struct Swept {
    span: RowSpan,
    start: u32,
}

// One column: the other three of its quad are impossible in both.
fn with_col(stats: PairStats, row: Swept, col: u32) -> PairStats {
    let x = vec4(score(row.span, col), NEG_INFINITY, NEG_INFINITY, NEG_INFINITY);
    let b = vec4(teacher_logit(row.start, col), NEG_INFINITY, NEG_INFINITY, NEG_INFINITY);
    return with_quads(stats, x, b);
}

fn student_at(row: Swept, quad: u32) -> vec4<u32> {
    return raw_pack(row.span, quad).a;
}

fn teacher_at(row: Swept, quad: u32) -> vec4<u32> {
    return teacher_quad(row.start, pack_col(row.span, quad));
}

fn with_quad(stats: PairStats, row: Swept, quad: u32) -> PairStats {
    return with_quads(stats, student_at(row, quad), teacher_at(row, quad));
}

fn highest(a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>) -> vec4<i32> {
    return max(max(order_keys(a), order_keys(b)), max(order_keys(c), order_keys(d)));
}

// The four quads of a lane's step.
fn with_step(stats: PairStats, row: Swept, quad: u32) -> PairStats {
    let x0 = student_at(row, quad);
    let x1 = student_at(row, quad + LANES);
    let x2 = student_at(row, quad + 2u * LANES);
    let x3 = student_at(row, quad + 3u * LANES);
    let b0 = teacher_at(row, quad);
    let b1 = teacher_at(row, quad + LANES);
    let b2 = teacher_at(row, quad + 2u * LANES);
    let b3 = teacher_at(row, quad + 3u * LANES);
    let ready = ready_for(stats, highest(x0, x1, x2, x3), highest(b0, b1, b2, b3));
    let first = plus(quad_sums(ready, x0, b0), quad_sums(ready, x1, b1));
    let second = plus(quad_sums(ready, x2, b2), quad_sums(ready, x3, b3));
    return with_sums(ready, plus(first, second));
}
