// The first sweep over a row: one lane's part of its stats.

override TRACK_ARGMAX: bool = false;

const STEP_QUADS: u32 = 4u;   // quads an invocation loads before it uses the first: one rescale at most a step
const CHUNK_STEPS: u32 = 64u; // steps summed apart, so that rounding grows with the root of the row and not with it

// The stats, ready to take scores from column `col` on of which the largest has this key.
fn ready_for(stats: RowStats, keys: vec4<i32>, col: u32) -> RowStats {
    let largest = max(max(keys.x, keys.y), max(keys.z, keys.w));
    let key = max(stats.key, largest);
    let maximum = maximum_of(key);
    // Half of each: the lowest base is 3.4e38 below 0.
    let leaps = (0.5 * maximum - 0.5 * stats.base) * exp_scale > 0.5 * SLACK;
    let base = select(stats.base, maximum, leaps);
    var next = stats;
    next.key = key;
    next.base = base;
    next.sum_exp = rescaled(stats, base);
    next.position = select(stats.position, col, largest > stats.key);
    if TARGET_SUMS {
        next.distance = moved(stats, base);
    }
    return next;
}

// exp((s − base) / T) of four columns, without the target's if that is to be left out.
fn exps_of(scores: vec4<u32>, span: RowSpan, col: u32, base: f32) -> vec4<f32> {
    var exps = scaled_exps(capped(bitcast<vec4<f32>>(scores)), base);
    if SOFTCAP { // the cap of −∞ is finite
        exps = select(exps, vec4(0.0), scores == vec4(NEG_INFINITY));
    }
    if EXCLUDE_TARGET {
        exps = select(exps, vec4(0.0), vec4(col, col + 1u, col + 2u, col + 3u) == vec4(excluded_col(span)));
    }
    return exps;
}

fn sum_of(values: vec4<f32>) -> f32 {
    return (values.x + values.y) + (values.z + values.w);
}

// Four columns' targets: weights ω and scores as bits.
fn with_targets(stats: RowStats, weights: vec4<u32>, scores: vec4<u32>) -> RowStats {
    let magnitudes = weights & vec4(MAGNITUDE);
    let possible = scores != vec4(NEG_INFINITY);
    let omega = bitcast<vec4<f32>>(weights);
    let distances = 0.5 * stats.base - 0.5 * capped(bitcast<vec4<f32>>(scores));
    var next = stats;
    next.mass += sum_of(omega);
    next.distance += sum_of(select(vec4(0.0), omega * distances, possible & (magnitudes != vec4(0u))));
    if any(!possible & (magnitudes != vec4(0u))) {
        next.marks |= MASS_AT_NEG_INFINITY;
    }
    if any(magnitudes >= vec4(INFINITY)) {
        next.marks |= select(TARGET_NOT_FINITE, BAD_WEIGHT, any(weights == vec4(BAD_WEIGHT_BITS)));
    }
    return next;
}

fn with_quad(stats: RowStats, quad: vec4<u32>, span: RowSpan, col: u32) -> RowStats {
    var next = ready_for(stats, order_keys(quad), col);
    next.sum_exp += sum_of(exps_of(quad, span, col, next.base));
    if TARGET_SUMS {
        next = with_targets(next, target_weights(span, col), quad);
    }
    return next;
}

fn with_step(stats: RowStats, a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>, span: RowSpan, q: u32) -> RowStats {
    let keys = max(max(order_keys(a), order_keys(b)), max(order_keys(c), order_keys(d)));
    let col = quad_col(span, q);
    let next_col = 4u * LANES;
    var next = ready_for(stats, keys, col);
    let ab = exps_of(a, span, col, next.base) + exps_of(b, span, col + next_col, next.base);
    let cd = exps_of(c, span, col + 2u * next_col, next.base) + exps_of(d, span, col + 3u * next_col, next.base);
    next.sum_exp += sum_of(ab + cd);
    if TARGET_SUMS {
        next = with_targets(next, target_weights(span, col), a);
        next = with_targets(next, target_weights(span, col + next_col), b);
        next = with_targets(next, target_weights(span, col + 2u * next_col), c);
        next = with_targets(next, target_weights(span, col + 3u * next_col), d);
    }
    return next;
}

fn with_value(stats: RowStats, span: RowSpan, col: u32) -> RowStats {
    let bits = score(span, col);
    let key = order_key(bits);
    var value = RowStats(key, maximum_of(key), 1.0, col, 0.0, 0.0, 0u);
    if bits == NEG_INFINITY || (EXCLUDE_TARGET && col == excluded_col(span)) {
        value.sum_exp = 0.0;
    }
    if TARGET_SUMS {
        value = with_targets(value, vec4(target_weight(span, col), 0u, 0u, 0u), vec4(bits));
    }
    return combine(stats, value);
}

// One lane's part of the row, columns in rising order: the first of equal maxima stays.
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
            let a = score_quad(span, q);
            let b = score_quad(span, q + LANES);
            let c = score_quad(span, q + 2u * LANES);
            let d = score_quad(span, q + 3u * LANES);
            chunk = with_step(chunk, a, b, c, d, span, q);
        }
        stats = combine(stats, chunk);
    }
    for (var q = full_steps * STEP_QUADS * LANES + lane; q < span.quads; q += LANES) {
        stats = with_quad(stats, score_quad(span, q), span, quad_col(span, q));
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
        let col = quad_col(span, q);
        let hits = order_keys(score_quad(span, q)) == vec4(stats.key);
        let cols = select(vec4(NO_CLASS), vec4(col, col + 1u, col + 2u, col + 3u), hits);
        first = min(first, min(min(cols.x, cols.y), min(cols.z, cols.w)));
        q += LANES;
    }
    return first;
}
