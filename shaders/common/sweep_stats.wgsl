// The first sweep over a row: one invocation's part of its stats.

override TRACK_ARGMAX: bool = false;

const STEP_QUADS: u32 = 4u;   // quads an invocation loads before it uses the first: one rescale of the sum a step
const CHUNK_STEPS: u32 = 64u; // steps summed apart, so that rounding grows with the root of the row and not with it

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
