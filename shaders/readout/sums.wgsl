// Uses: params, seat, row_span, score, cap, order_key, row_stats, row_fields

// What the sweep sums for a row's readouts. "Others" are all classes but the target's, whose own part is added at the end:
// where the target is nearly certain, the others alone tell how far it is from certain. A class is ahead of another if its
// score is higher, or equal with a lower index.

struct Readouts {
    others: f32,     // Σ e over the others, with e = exp((s − base) / T)
    squares: f32,    // Σ e² over the others
    spread: f32,     // Σ e·(base − s) / T · log2(e) over the others, for the entropy
    mass_ahead: f32, // Σ e over the classes ahead of the target
    ahead: u32,      // how many they are
    second: i32,     // the second largest order key
    least: i32,      // the smallest order key
    mean: f32,       // Σ s / C over scores above −∞
}

const READOUT_WORDS: u32 = 8u;

var<private> target_col: u32;
var<private> target_key: i32;
var<private> share_of_one: f32; // 1 / C
var<workgroup> lane_readouts: array<Readouts, INVOCATIONS>;

// Finds the target's place before the sweep.
fn begin_readouts(span: RowSpan, seat: Seat, reads: bool) {
    share_of_one = 1.0 / f32(params.cols);
    target_col = NO_CLASS;
    target_key = KEY_NAN;
    if reads {
        target_col = span.target_col;
        if target_col != NO_CLASS {
            target_key = keys_of(vec4(score(span, target_col))).x;
        }
    }
}

fn no_readouts() -> Readouts {
    return Readouts(0.0, 0.0, 0.0, 0.0, 0u, KEY_NONE, KEY_NAN, 0.0);
}

// Order keys as `order_keys` gives them, but for NaN, with fewer instructions. A row with a NaN has no readouts.
fn keys_of(bits: vec4<u32>) -> vec4<i32> {
    let signed = bitcast<vec4<i32>>(bits);
    return select(signed, vec4(KEY_NONE) - signed, signed < vec4(0));
}

fn highest_key(keys: vec4<i32>) -> i32 {
    return max(max(keys.x, keys.y), max(keys.z, keys.w));
}

fn second_key(keys: vec4<i32>) -> i32 {
    let low = max(min(keys.x, keys.y), min(keys.z, keys.w));
    return max(low, min(max(keys.x, keys.y), max(keys.z, keys.w)));
}

fn total(values: vec4<f32>) -> f32 {
    return (values.x + values.y) + (values.z + values.w);
}

// Adds four columns, all of them in the row if they are `whole`. `key` is the largest order key of what was added before.
// The exponentials are those that the sweep computes anyway.
fn with_four(before: Readouts, key: i32, base: f32, scores: vec4<u32>, col: u32, whole: bool) -> Readouts {
    var next = before;
    let cols = four_cols(col);
    let keys = keys_of(scores);
    let s = capped(bitcast<vec4<f32>>(scores));
    let exps = score_exps(scores, base);
    let others = select(exps, vec4(0.0), cols == vec4(target_col));
    if keeps(FIELD_BRIER) {
        next.others += total(others);
        next.squares += total(others * others);
    }
    if keeps(FIELD_ENTROPY) {
        if !keeps(FIELD_BRIER) {
            next.others += total(others);
        }
        next.spread -= total(others * exponents(s, base));
    }
    if keeps(FIELD_RANK | FIELD_MASS_AHEAD) {
        // Of equal scores, those with a lower index are ahead.
        let ahead = keys > select(vec4(target_key), vec4(target_key - 1), cols < vec4(target_col));
        next.mass_ahead += total(select(vec4(0.0), exps, ahead));
        let counts = select(vec4(0u), vec4(1u), ahead);
        next.ahead += (counts.x + counts.y) + (counts.z + counts.w);
    }
    if keeps(FIELD_MARGIN) {
        next.second = max(max(before.second, second_key(keys)), min(key, highest_key(keys)));
    }
    let inside = vec4(whole) | (cols < vec4(params.cols));
    if keeps(FIELD_MIN_LOGIT | FIELD_MEAN_LOGIT) {
        let own = select(vec4(KEY_NAN), keys, inside);
        next.least = min(before.least, min(min(own.x, own.y), min(own.z, own.w)));
    }
    if keeps(FIELD_MEAN_LOGIT) {
        let counted = inside & (scores != vec4(NEG_INFINITY));
        next.mean += total(select(vec4(0.0), s * share_of_one, counted));
    }
    return next;
}

// The readouts of a row's stats with the scores of a step, relative to another base.
fn step_readouts(before: RowStats, largest: i32, base: f32, ab: QuadPair, cd: QuadPair, cols: vec4<u32>) -> Readouts {
    let after_a = max(before.key, highest_key(keys_of(ab.a)));
    let after_b = max(after_a, highest_key(keys_of(ab.b)));
    let after_c = max(after_b, highest_key(keys_of(cd.a)));
    let based = rebased_readouts(before.readouts, before.base, base);
    let a = with_four(based, before.key, base, ab.a, cols.x, true);
    let b = with_four(a, after_a, base, ab.b, cols.y, true);
    let c = with_four(b, after_b, base, cd.a, cols.z, true);
    return with_four(c, after_c, base, cd.b, cols.w, true);
}

// Likewise for a pack; scores outside the row are −∞.
fn edge_readouts(before: RowStats, largest: i32, base: f32, scores: QuadPair, col: u32) -> Readouts {
    let based = rebased_readouts(before.readouts, before.base, base);
    let a = with_four(based, before.key, base, scores.a, col, false);
    if !PACKED {
        return a;
    }
    let after_a = max(before.key, highest_key(keys_of(scores.a)));
    return with_four(a, after_a, base, scores.b, col + 4u, false);
}

// The sums relative to another base.
fn rebased_readouts(readouts: Readouts, old_base: f32, base: f32) -> Readouts {
    let power = exponents(vec4(old_base), base).x;
    let is_same = old_base == base; // an adapter's exp2(0) need not be 1
    let factor = select(exp2(power), 1.0, is_same);
    var next = readouts;
    next.others = readouts.others * factor;
    next.squares = readouts.squares * factor * factor;
    next.spread = (readouts.spread - select(readouts.others * power, 0.0, is_same)) * factor;
    next.mass_ahead = readouts.mass_ahead * factor;
    return next;
}

// The readouts of two parts with the same base, and the largest order keys of these parts.
fn both_readouts(a: Readouts, b: Readouts, a_key: i32, b_key: i32) -> Readouts {
    return Readouts(
        a.others + b.others,
        a.squares + b.squares,
        a.spread + b.spread,
        a.mass_ahead + b.mass_ahead,
        a.ahead + b.ahead,
        max(max(a.second, b.second), min(a_key, b_key)),
        min(a.least, b.least),
        a.mean + b.mean,
    );
}

fn put_readouts(at: u32, readouts: Readouts) {
    lane_readouts[at] = readouts;
}

fn readouts_at(at: u32) -> Readouts {
    return lane_readouts[at];
}

fn readout_words(r: Readouts) -> array<u32, 8> {
    return array(
        bitcast<u32>(r.others), bitcast<u32>(r.squares), bitcast<u32>(r.spread), bitcast<u32>(r.mass_ahead),
        r.ahead, bitcast<u32>(r.second), bitcast<u32>(r.least), bitcast<u32>(r.mean),
    );
}

fn readouts_of(words: array<u32, 8>) -> Readouts {
    return Readouts(
        bitcast<f32>(words[0]), bitcast<f32>(words[1]), bitcast<f32>(words[2]), bitcast<f32>(words[3]),
        words[4], bitcast<i32>(words[5]), bitcast<i32>(words[6]), bitcast<f32>(words[7]),
    );
}
