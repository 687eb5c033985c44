// The first sweep over a row: one invocation's part of its stats.

override TRACK_ARGMAX: bool = false;

const STEP_QUADS: u32 = 4u;   // quads an invocation loads before it uses the first: one rescale at most a step
const CHUNK_STEPS: u32 = 64u; // steps summed apart, so that rounding grows with the root of the row and not with it

fn stats_of_value(bits: u32, col: u32) -> RowStats {
    let key = order_key(bits);
    return RowStats(key, row_max(key), select(1.0, 0.0, bits == NEG_INFINITY), col);
}

// The stats, ready to take values from column `col` on of which the largest has this key.
fn ready_for(stats: RowStats, keys: vec4<i32>, col: u32) -> RowStats {
    let largest = max(max(keys.x, keys.y), max(keys.z, keys.w));
    let key = max(stats.key, largest);
    let maximum = row_max(key);
    let base = select(stats.base, maximum, maximum > stats.base + SLACK);
    return RowStats(key, base, rescaled(stats, base), select(stats.position, col, largest > stats.key));
}

fn with_quad(stats: RowStats, quad: vec4<u32>, col: u32) -> RowStats {
    var next = ready_for(stats, order_keys(quad), col);
    let exps = scaled_exps(bitcast<vec4<f32>>(quad), next.base);
    next.sum_exp += (exps.x + exps.y) + (exps.z + exps.w);
    return next;
}

fn with_step(stats: RowStats, a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>, col: u32) -> RowStats {
    let keys = max(max(order_keys(a), order_keys(b)), max(order_keys(c), order_keys(d)));
    var next = ready_for(stats, keys, col);
    let exps = (scaled_exps(bitcast<vec4<f32>>(a), next.base) + scaled_exps(bitcast<vec4<f32>>(b), next.base))
        + (scaled_exps(bitcast<vec4<f32>>(c), next.base) + scaled_exps(bitcast<vec4<f32>>(d), next.base));
    next.sum_exp += (exps.x + exps.y) + (exps.z + exps.w);
    return next;
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
