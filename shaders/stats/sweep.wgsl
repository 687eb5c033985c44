// Uses: params, seat, pack, row_span, cap, scores, order_key, sums, sweep_steps, row_stats, readout, target

// The first sweep over a row: one lane's part of its stats.

override TRACK_ARGMAX: bool;

const GIVEN: bool = false;

fn given_target(row: u32) -> u32 {
    return NEG_INFINITY;
}

alias Swept = RowSpan;

// Where the target is, if EXCLUDE_TARGET: its column, and the first pack of the half step that has it, if the lane has that.
// Such a half step is left out of the sum, by one test of it. Then its packs are summed with those outside the steps, where
// each column is compared with the target's.
var<private> left_out_col: u32;
var<private> left_out_half: u32;
var<private> left_out_before: u32; // the pack half a step before that

fn find_target(span: RowSpan, lane: u32) {
    left_out_col = span.target_col;
    left_out_half = NO_CLASS;
    if !STEPS {
        return;
    }
    // The pack's place among the whole packs. Before them, it has wrapped below 0.
    let place = (left_out_col + span.shift) / PACK_VALUES - span.begin;
    if place < full_steps(span) * STEP_PACKS * LANES && place % LANES == lane {
        left_out_half = span.begin + place - place / LANES % HALF_PACKS * LANES;
    }
    left_out_before = left_out_half - HALF_PACKS * LANES;
}

// The stats, made ready to add scores whose largest has this key, from this pack on. There is one rescale per step.
fn ready_for(stats: RowStats, largest: i32, pack: u32) -> RowStats {
    let key = max(stats.key, largest);
    let maximum = maximum_of(key);
    // Halves, because the lowest base is 3.4e38 below 0.
    let leaps = (0.5 * maximum - 0.5 * stats.base) * exp_scale > 0.5 * SLACK;
    let base = select(stats.base, maximum, leaps);
    var next = stats;
    next.key = key;
    next.base = base;
    next.sum_exp = rescaled(stats, base);
    if TRACK_ARGMAX {
        let earlier = select(stats.position, min(stats.position, pack), largest == stats.key);
        next.position = select(earlier, pack, largest > stats.key);
    }
    if TARGET_SUMS {
        next.distance = moved(stats, base);
    }
    return next;
}

// exp((s − base) / T) of four columns, without the target's if EXCLUDE_TARGET.
fn exps_of(scores: vec4<u32>, col: u32, base: f32) -> vec4<f32> {
    let exps = score_exps(scores, base);
    if EXCLUDE_TARGET {
        return select(exps, vec4(0.0), four_cols(col) == vec4(left_out_col));
    }
    return exps;
}

// The sum of a step's exponentials, without the half that has the target.
fn sum_of_step(ab: vec4<f32>, cd: vec4<f32>, pack: u32) -> f32 {
    if EXCLUDE_TARGET {
        let first = select(sum_of(ab), 0.0, pack == left_out_half);
        return first + select(sum_of(cd), 0.0, pack == left_out_before);
    }
    return sum_of(ab + cd);
}

fn sum_of(values: vec4<f32>) -> f32 {
    return (values.x + values.y) + (values.z + values.w);
}

// Scaled distances of four scores from the base.
fn distances_of(base: f32, scores: vec4<u32>) -> vec4<f32> {
    return distance_base(base) - distance_scale * capped(bitcast<vec4<f32>>(scores));
}

// What the targets of four columns add, from the bits of their weights ω and of their scores, if all of them are finite.
fn finite_target_sums(base: f32, weights: vec4<u32>, scores: vec4<u32>) -> LaneTarget {
    let omega = bitcast<vec4<f32>>(weights);
    return LaneTarget(sum_of(omega), sum_of(omega * distances_of(base, scores)), 0u);
}

// The same for any weights and scores.
fn target_sums(base: f32, weights: vec4<u32>, scores: vec4<u32>) -> LaneTarget {
    let omega = bitcast<vec4<f32>>(weights);
    let distances = distances_of(base, scores);
    let magnitudes = weights & vec4(MAGNITUDE);
    let possible = scores != vec4(NEG_INFINITY);
    let has_mass = magnitudes != vec4(0u);
    let counted = possible & has_mass;
    let infinite = !possible & has_mass;
    let negative = weights >= vec4(0x80000000u);
    var sums = LaneTarget(sum_of(omega), sum_of(select(vec4(0.0), omega * distances, counted)), 0u);
    if any(infinite & !negative) {
        sums.marks |= MASS_AT_NEG_INFINITY;
    }
    if any(infinite & negative) {
        sums.marks |= MINUS_MASS_AT_NEG_INFINITY;
    }
    if any(magnitudes >= vec4(INFINITY)) {
        sums.marks |= select(TARGET_NOT_FINITE, BAD_WEIGHT, any(weights == vec4(BAD_WEIGHT_BITS)));
    }
    return sums;
}

fn both_targets(a: LaneTarget, b: LaneTarget) -> LaneTarget {
    return LaneTarget(a.mass + b.mass, a.distance + b.distance, a.marks | b.marks);
}

// One addition per step, so that the rounding of many additions does not accumulate.
fn with_targets(stats: RowStats, sums: LaneTarget) -> RowStats {
    var next = stats;
    next.mass += sums.mass;
    next.distance += sums.distance;
    next.marks |= sums.marks;
    return next;
}

// Adds a pack of scores; those outside the row are −∞. If the pack is `known`, only the sum of exponentials lacks it.
fn with_edge(stats: RowStats, scores: QuadPair, span: RowSpan, pack: u32, known: bool) -> RowStats {
    let col = pack_col(span, pack);
    // Columns outside the row add nothing.
    let new_col = select(col, params.cols, known);
    let b = select(scores.a, scores.b, PACKED);
    let largest = largest_key(scores.a, b, scores.a, b);
    var next = ready_for(stats, largest, pack);
    var exps = exps_of(scores.a, col, next.base);
    if PACKED {
        exps += exps_of(scores.b, col + 4u, next.base);
    }
    next.sum_exp += sum_of(exps);
    var news = scores;
    if EXCLUDE_TARGET {
        news.a = within(scores.a, new_col, NEG_INFINITY);
        news.b = within(scores.b, new_col + 4u, NEG_INFINITY);
    }
    next.readouts = edge_readouts(stats, largest, next.base, news, new_col);
    if TARGET_SUMS {
        var sums = target_sums(next.base, within(target_weights(span, col), new_col, 0u), scores.a);
        if PACKED {
            let weights = within(target_weights(span, col + 4u), new_col + 4u, 0u);
            sums = both_targets(sums, target_sums(next.base, weights, scores.b));
        }
        next = with_targets(next, sums);
    }
    return next;
}

// Two quads of a step: one pack, or two packs that are LANES apart.
fn step_pair(span: RowSpan, pack: u32) -> QuadPair {
    if PACKED {
        return score_pack(span, pack);
    }
    return QuadPair(score_pack(span, pack).a, score_pack(span, pack + LANES).a);
}

// The four quads of a lane's step from a pack on.
fn with_step(stats: RowStats, span: RowSpan, pack: u32) -> RowStats {
    let ab = step_pair(span, pack);
    let cd = step_pair(span, pack + HALF_PACKS * LANES);
    let col = pack_col(span, pack);
    let b = col + select(4u * LANES, 4u, PACKED);
    let c = col + 8u * LANES;
    let d = b + 8u * LANES;
    let largest = largest_key(ab.a, ab.b, cd.a, cd.b);
    var next = ready_for(stats, largest, pack);
    let ab_exps = score_exps(ab.a, next.base) + score_exps(ab.b, next.base);
    let cd_exps = score_exps(cd.a, next.base) + score_exps(cd.b, next.base);
    next.sum_exp += sum_of_step(ab_exps, cd_exps, pack);
    next.readouts = step_readouts(stats, largest, next.base, ab, cd, vec4(col, b, c, d));
    if TARGET_SUMS {
        let a_weights = target_weights(span, col);
        let b_weights = target_weights(span, b);
        let c_weights = target_weights(span, c);
        let d_weights = target_weights(span, d);
        // One test for the whole step, because few steps have a special score or weight.
        let keys = max(largest, largest_key(a_weights, b_weights, c_weights, d_weights));
        let highest = max(
            highest_bits(ab.a, ab.b, cd.a, cd.b),
            highest_bits(a_weights, b_weights, c_weights, d_weights),
        );
        var ab_sums = both_targets(
            finite_target_sums(next.base, a_weights, ab.a),
            finite_target_sums(next.base, b_weights, ab.b),
        );
        var cd_sums = both_targets(
            finite_target_sums(next.base, c_weights, cd.a),
            finite_target_sums(next.base, d_weights, cd.b),
        );
        if keys >= KEY_INFINITY || highest >= NEG_INFINITY {
            ab_sums = both_targets(
                target_sums(next.base, a_weights, ab.a),
                target_sums(next.base, b_weights, ab.b),
            );
            cd_sums = both_targets(
                target_sums(next.base, c_weights, cd.a),
                target_sums(next.base, d_weights, cd.b),
            );
        }
        next = with_targets(next, both_targets(ab_sums, cd_sums));
    }
    return next;
}

// One lane's part of the row, or of a segment of it.
fn sweep_stats(span: RowSpan, lane: u32) -> RowStats {
    let rest = rest_packs(span);
    var end = rest;
    if EXCLUDE_TARGET {
        find_target(span, lane);
        if STEPS && left_out_half != NO_CLASS {
            end += HALF_PACKS * LANES;
        }
    }
    var stats = sweep_steps(identity(), span, span, lane);
    for (var i = lane; i < end; i += LANES) {
        var pack = rest_pack(span, i);
        let known = STEPS && EXCLUDE_TARGET && i >= rest;
        if known {
            pack = left_out_half + (i - rest) / LANES * LANES;
        }
        stats = with_edge(stats, score_edge(span, pack), span, pack, known);
    }
    if TRACK_ARGMAX {
        stats.position = first_of_step(stats, span);
    }
    return stats;
}

// The lowest column with the maximum in the step that begins with the pack that `position` names.
fn first_of_step(stats: RowStats, span: RowSpan) -> u32 {
    var first = NO_CLASS;
    if stats.position == NO_CLASS {
        return first;
    }
    for (var i = 0u; i < STEP_PACKS; i++) {
        let pack = stats.position + i * LANES;
        if pack < span.end {
            let col = pack_col(span, pack);
            let scores = score_edge(span, pack);
            first = min(first, first_hit(scores.a, col, stats.key));
            if PACKED {
                first = min(first, first_hit(scores.b, col + 4u, stats.key));
            }
        }
    }
    return first;
}

fn first_hit(scores: vec4<u32>, col: u32, key: i32) -> u32 {
    let cols = four_cols(col);
    let hits = select(vec4(NO_CLASS), cols, (order_keys(scores) == vec4(key)) & (cols < vec4(params.cols)));
    return min(min(hits.x, hits.y), min(hits.z, hits.w));
}
