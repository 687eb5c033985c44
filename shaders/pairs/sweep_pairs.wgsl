// Uses: params, seat, row_span, order_key, sweep_packs, pair_stats

// The first sweep over a row of two batches: it adds packs and whole steps to a lane's stats.

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

alias Swept = RowSpan;

// What adds nothing: a class that is impossible in both.
fn outside_row() -> vec2<u32> {
    return vec2(NEG_INFINITY);
}

fn with_pack(stats: PairStats, pair: PackPair) -> PairStats {
    let x = pair.first;
    let b = pair.second;
    let x_second = select(x.a, x.b, PACKED);
    let b_second = select(b.a, b.b, PACKED);
    var ready = ready_for(
        stats,
        largest_key(x.a, x_second, x.a, x_second),
        largest_key(b.a, b_second, b.a, b_second),
    );
    ready.infinite |= u32(is_infinite_at(x.a, b.a) | is_infinite_at(x_second, b_second));
    var sums = quad_sums(ready, x.a, b.a);
    if PACKED {
        sums = plus(sums, quad_sums(ready, x.b, b.b));
    }
    return with_sums(ready, sums);
}

// The four quads of a lane's step.
fn with_step(stats: PairStats, span: RowSpan, pack: u32) -> PairStats {
    let ab = step_pair(span, pack);
    let cd = step_pair(span, pack + HALF_PACKS * LANES);
    let x = ab.first;
    let b = ab.second;
    let y = cd.first;
    let c = cd.second;
    var ready = ready_for(stats, largest_key(x.a, x.b, y.a, y.b), largest_key(b.a, b.b, c.a, c.b));
    if highest_bits(x.a, x.b, y.a, y.b) >= NEG_INFINITY { // else the student has no impossible class
        let first = is_infinite_at(x.a, b.a) | is_infinite_at(x.b, b.b);
        ready.infinite |= u32(first | is_infinite_at(y.a, c.a) | is_infinite_at(y.b, c.b));
    }
    let first = plus(quad_sums(ready, x.a, b.a), quad_sums(ready, x.b, b.b));
    let second = plus(quad_sums(ready, y.a, c.a), quad_sums(ready, y.b, c.b));
    return with_sums(ready, plus(first, second));
}
