// Uses: params, row_span, order_key, wide, sampling_record, sampling_support, sampling_sums, sampling_search

// The steps that leave out classes, one after another. Each sees what those before it have left.

override SAMPLING_ORDER: u32; // the steps, four bits each, the first in the lowest bits

const TOP_N_SIGMA: u32 = 1u;
const TOP_K: u32 = 2u;
const TOP_P: u32 = 3u;
const MIN_P: u32 = 4u;
const TYPICAL: u32 = 5u;
const EPSILON: u32 = 6u;
const ETA: u32 = 7u;
const XTC: u32 = 8u;
const HEADLESS: u32 = 0x120u; // the steps that may leave out the first class

// ln Σ exp((x − base) / T) of a sum of weights.
fn ln_of_sum(sum: vec2<u32>) -> f32 {
    let bits = (127u + 64u - fraction_bits()) << 23u; // 2^(64 − f), so that the sum stays within f32
    return log(wide_to_float(sum) * 5.421010862427522e-20 * bitcast<f32>(bits));
}

// The key of the logit at this half of it, if that is within f32.
fn key_of_half(half: f32) -> u32 {
    return key_of(2.0 * max(half, 0.5 * LOWEST));
}

// The key of the least logit whose half is at this offset from the largest one's, or above. Where the sum is rounded down, that
// is the next f32: logits near 1e8 are 8 apart, and all those of a step would be kept.
fn key_from(offset: f32) -> u32 {
    let key = key_of_half(half_base + offset);
    // By way of the key: a compiler may take (a + b) − a for b.
    let half = 0.5 * row_max(bitcast<i32>(key ^ 0x80000000u));
    return key + u32(half > 0.5 * LOWEST && half - half_base < offset);
}

// The key of the logit with this log-probability.
fn key_of_log_prob(log_p: f32, ln_sum: f32) -> u32 {
    return key_from((log_p + ln_sum) / twice_inverse);
}

// Half of the standard deviation of the logits, from the sum of squares.
fn deviation(squares: f32, count: u32) -> f32 {
    return sqrt(squares / f32(count)) / square_scale;
}

// Leaves out what comes after this place: {key, column}.
fn cut_at(place: vec2<u32>) {
    is_cut = true;
    cut = Place(place.x, place.y);
}

// Applies the steps of a row. Call this in uniform control flow. `at` is where its record begins.
fn leave_out(span: RowSpan, lane: u32, at: u32) {
    let on = samplings[at + RECORD_STEPS] & SAMPLING_STEPS;
    let min_keep = samplings[at + RECORD_MIN_KEEP];
    for (var i = 0u; i < 8u; i++) {
        let step = (SAMPLING_ORDER >> (4u * i)) & 15u;
        if ((on >> step) & 1u) == 0u {
            continue;
        }
        let counts = min_keep > 1u || step == XTC || ((on >> TYPICAL) & 1u) != 0u;
        leave_out_by(span, lane, at, step, min_keep, counts);
    }
}

// What the sum of floats adds up for a step.
fn kind_for(step: u32) -> u32 {
    switch step {
        case TOP_N_SIGMA: { return SQUARES; }
        case TYPICAL, ETA: { return ENTROPIES; }
        default: { return NO_FLOATS; }
    }
}

// Applies one step. Without `counts`, the first class is left, and that is enough for a step by key.
fn leave_out_by(span: RowSpan, lane: u32, at: u32, step: u32, min_keep: u32, counts: bool) {
    // What has been left so far.
    var sums = vec4(0u);
    if step == TOP_N_SIGMA {
        sums = sweep_sums(span, lane, DISTANCES);
        mean = bitcast<f32>(sums.w) / f32(sums.z) / DISTANCE_SCALE;
        square_scale = select(1.0, 8.271806e-25, abs(mean) > 1e12); // 2^-80: squares stay within f32
    }
    if step != TOP_K && step != MIN_P {
        sums = sweep_sums(span, lane, kind_for(step));
    }
    let ln_sum = ln_of_sum(sums.xy);
    let entropy = ln_sum + bitcast<f32>(sums.w) / exp(ln_sum);
    let value = bitcast<f32>(samplings[at + step]);
    let word = samplings[at + step];
    // The part of the order that the step keeps: by its classes and weights, or by a key.
    var wanted = min_keep;
    var mass = vec2(0u);
    var key = 0u;
    switch step {
        case TOP_K: { wanted = max(word, min_keep); }
        case TOP_P: { mass = share_of(sums.xy, word); }
        case TYPICAL: {
            mass = share_of(sums.xy, word);
            center = ln_sum - entropy;
        }
        case TOP_N_SIGMA: { key = key_from(-value * deviation(bitcast<f32>(sums.w), sums.z)); }
        case MIN_P: { key = key_of_half(half_base + value); } // rounded, as the definition is
        case ETA: { key = key_of_log_prob(min(value, 0.5 * value - entropy), ln_sum); }
        case EPSILON, XTC, default: { key = key_of_log_prob(value, ln_sum); }
    }
    let uncut = cut;
    let was_cut = is_cut;
    var searches = step == TOP_K || step == TOP_P || step == TYPICAL;
    if !searches {
        if key > top.key && step != XTC {
            cut_at(vec2(top.key, top.col)); // the first class is left in any case
        } else if key > cut.key {
            cut_at(vec2(key, NO_CLASS));
        }
        if counts {
            let kept = sweep_sums(span, lane, NO_FLOATS).z;
            searches = kept < min_keep;
            if step == XTC {
                wanted = kept;
                searches = kept >= 2u && sums.z - (kept - 1u) >= min_keep;
            }
            if searches || step == XTC {
                cut = uncut;
                is_cut = was_cut;
            }
        }
    }
    if !searches {
        return;
    }
    let last = find_part(span, lane, vec3(mass, wanted), step == TYPICAL);
    if last.y == NO_CLASS && last.x == 0u {
        return; // all that is left
    }
    if step == TYPICAL {
        is_cut = true;
        by_distance = true;
        nearest = Place(last.x, last.y);
    } else if step == XTC {
        is_cut = true;
        head = Place(last.x, last.y);
    } else {
        cut_at(last);
    }
}
