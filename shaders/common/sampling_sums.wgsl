// Uses: params, seat, pack, row_span, scores, order_key, wide, candidates, sampling_record, sampling_support

// Sums over the classes that are left: how many they are, their weights, and a sum of floats. The row is cut into blocks of
// neighbouring packs; a draw searches the sums of the blocks, then its block.

const BLOCKS: u32 = 256u;
const BLOCK_WORDS: u32 = 512u;

// What the sum of floats adds up. All but the first are for classes that are left.
const RAW_EXPS: u32 = 0u;  // exp(x − max) of every class
const DISTANCES: u32 = 1u; // (x − base) / 2, scaled, so that the sum is not beyond f32
const SQUARES: u32 = 2u;   // ((x − base) / 2 − mean)², scaled
const ENTROPIES: u32 = 3u; // −(x − base) / T · exp((x − base) / T)
const NO_FLOATS: u32 = 4u;

var<workgroup> block_sums: array<atomic<u32>, BLOCK_WORDS>; // after the sweep: the sums of all blocks up to this one
var<workgroup> block_tops: array<atomic<u32>, BLOCKS>; // the largest key of each block, if the row may be truncated
var<workgroup> left: atomic<u32>;
var<workgroup> least: atomic<u32>;
var<workgroup> lane_lows: array<u32, INVOCATIONS>;
var<workgroup> lane_highs: array<u32, INVOCATIONS>;

fn put_lane_sum(lane: u32, sum: vec2<u32>) {
    lane_lows[lane] = sum.x;
    lane_highs[lane] = sum.y;
}

fn lane_sum(lane: u32) -> vec2<u32> {
    return vec2(lane_lows[lane], lane_highs[lane]);
}

// Of DISTANCES and SQUARES.
const DISTANCE_SCALE: f32 = 5.9604645e-8; // 2^-24
var<private> mean: f32;
var<private> square_scale: f32;

// What a lane has summed: one weight of each column of a quad, in each part of 23 bits. A part overflows after 511 additions.
struct Parts {
    high: vec4<u32>,
    low: vec4<u32>,
    count: vec4<u32>,
    floats: vec4<f32>,
}

fn block_packs(span: RowSpan) -> u32 {
    let packs = (span.end + BLOCKS - 1u) / BLOCKS;
    return (packs + LANES - 1u) / LANES * LANES;
}

fn wide_of(high: u32, low: u32) -> vec2<u32> {
    return wide_sum(vec2(high << 23u, high >> 9u), vec2(low, 0u));
}

fn sum_of_parts(parts: Parts) -> vec2<u32> {
    let xy = wide_sum(wide_of(parts.high.x, parts.low.x), wide_of(parts.high.y, parts.low.y));
    let zw = wide_sum(wide_of(parts.high.z, parts.low.z), wide_of(parts.high.w, parts.low.w));
    return wide_sum(xy, zw);
}

fn float_terms(scores: vec4<u32>, exps: vec4<f32>, kind: u32) -> vec4<f32> {
    switch kind {
        case RAW_EXPS: {
            if is_raw() {
                return exps;
            }
            return raw_exps(scores);
        }
        case NO_FLOATS: { return vec4(0.0); }
        case ENTROPIES: { return -max(distances(scores), vec4(-150.0)) * exps; }
        default: {
            let distance = 0.5 * bitcast<vec4<f32>>(scores) - vec4(half_base);
            let from_mean = (distance - vec4(mean)) * square_scale;
            return select(distance * DISTANCE_SCALE, from_mean * from_mean, vec4(kind == SQUARES));
        }
    }
}

fn with_four(parts: Parts, scores: vec4<u32>, col: u32, kind: u32) -> Parts {
    var next = parts;
    let exps = exps_of(scores);
    var weights = weights_of(exps);
    var terms = float_terms(scores, exps, kind);
    var is_counted = scores != vec4(NEG_INFINITY);
    if TRUNCATES && is_cut {
        is_counted &= is_left(scores, four_cols(col));
        weights.high = select(vec4(0u), weights.high, is_counted);
        weights.low = select(vec4(0u), weights.low, is_counted);
    }
    if kind != RAW_EXPS && kind != NO_FLOATS {
        terms = select(vec4(0.0), terms, is_counted);
    }
    next.high += weights.high;
    next.low += weights.low;
    next.count += select(vec4(0u), vec4(1u), is_counted);
    next.floats += terms;
    return next;
}

// The weights of a pack's classes that are left.
fn with_pack(before: Parts, scores: QuadPair, col: u32, kind: u32) -> Parts {
    var parts = with_four(before, scores.a, col, kind);
    if PACKED {
        parts = with_four(parts, scores.b, col + 4u, kind);
    }
    return parts;
}

// A part of the classes that are left: all, or those with a key.
struct Which {
    all: bool,
    key: u32,
    nearest_first: bool,
}

fn search_keys(scores: vec4<u32>, nearest_first: bool) -> vec4<u32> {
    return select(unsigned_keys(scores), nearness(scores), vec4(nearest_first));
}

fn is_among(scores: vec4<u32>, col: u32, which: Which) -> vec4<bool> {
    let has_key = vec4(which.all) | (search_keys(scores, which.nearest_first) == vec4(which.key));
    let among = has_key & (scores != vec4(NEG_INFINITY));
    if TRUNCATES {
        return among & is_left(scores, four_cols(col));
    }
    return among;
}

// The weights' sum and the number of four classes.
fn sum_of_four(scores: vec4<u32>, col: u32, which: Which) -> vec3<u32> {
    let weights = weights_of(exps_of(scores));
    let among = is_among(scores, col, which);
    let none = vec4(0u);
    let counts = select(none, vec4(1u), among);
    let sum = sum_of_parts(Parts(select(none, weights.high, among), select(none, weights.low, among), none, vec4(0.0)));
    return vec3(sum, counts.x + counts.y + counts.z + counts.w);
}

fn sum_of_pack(span: RowSpan, pack: u32, which: Which) -> vec3<u32> {
    let scores = score_edge(span, pack);
    let col = pack_col(span, pack);
    let a = sum_of_four(scores.a, col, which);
    if PACKED {
        let b = sum_of_four(scores.b, col + 4u, which);
        return with_class(a, b.xy, b.z);
    }
    return a;
}

// The same for neighbouring packs.
fn sum_of_packs(span: RowSpan, begin: u32, end: u32, which: Which) -> vec3<u32> {
    var sum = vec3(0u);
    for (var pack = begin; pack < end; pack++) {
        let own = sum_of_pack(span, pack, which);
        sum = with_class(sum, own.xy, own.z);
    }
    return sum;
}

// A sum of weights in two words, and a number of classes.
fn with_class(sum: vec3<u32>, weight: vec2<u32>, classes: u32) -> vec3<u32> {
    return vec3(wide_sum(sum.xy, weight), sum.z + classes);
}

// Whether a part of the order is long enough: as many classes, and as much weight.
fn is_enough(sum: vec3<u32>, goal: vec3<u32>) -> bool {
    return sum.z >= goal.z && !is_less(sum.xy, goal.xy);
}

// The class of neighbouring packs with which the goal is reached.
fn goal_in_packs(span: RowSpan, begin: u32, end: u32, which: Which, before: vec3<u32>, goal: vec3<u32>) -> u32 {
    var sum = before;
    var pack = begin;
    for (; pack < end; pack++) {
        let own = sum_of_pack(span, pack, which);
        let both = with_class(sum, own.xy, own.z);
        if is_enough(both, goal) {
            break;
        }
        sum = both;
    }
    if pack >= end {
        return NO_CLASS;
    }
    let scores = score_edge(span, pack);
    let col = pack_col(span, pack);
    for (var i = 0u; i < PACK_VALUES; i++) {
        let quad = select(scores.a, scores.b, vec4(i >= 4u));
        let at = i % 4u;
        let weights = weights_of(exps_of(quad));
        if is_among(quad, col + i - at, which)[at] {
            sum = with_class(sum, wide_of(weights.high[at], weights.low[at]), 1u);
        }
        if is_enough(sum, goal) {
            return col + i;
        }
    }
    return NO_CLASS;
}

fn no_parts() -> Parts {
    return Parts(vec4(0u), vec4(0u), vec4(0u), vec4(0.0));
}

fn add_to_block(block: u32, sum: vec2<u32>) {
    let before = atomicAdd(&block_sums[2u * block], sum.x);
    let carry = select(0u, 1u, before + sum.x < before);
    if sum.y + carry > 0u {
        atomicAdd(&block_sums[2u * block + 1u], sum.y + carry);
    }
}

fn block_sum(block: u32) -> vec2<u32> {
    return vec2(atomicLoad(&block_sums[2u * block]), atomicLoad(&block_sums[2u * block + 1u]));
}

// Whether some classes of a block may be left.
fn may_have_left(block: u32) -> bool {
    if TRUNCATES && is_cut {
        return atomicLoad(&block_tops[block]) >= cut.key;
    }
    return true;
}

// The raw exponentials of classes of which none is left.
fn raw_parts(span: RowSpan, pack: u32, before: Parts) -> Parts {
    let scores = score_edge(span, pack);
    var parts = before;
    parts.floats += raw_exps(scores.a);
    if PACKED {
        parts.floats += raw_exps(scores.b);
    }
    return parts;
}

// What a lane sums in a block, from its first pack there on.
fn block_parts(span: RowSpan, first: u32, end: u32, kind: u32, may_be_left: bool) -> Parts {
    var parts = no_parts();
    var pack = first;
    if may_be_left {
        for (; pack < end; pack += LANES) {
            parts = with_pack(parts, score_edge(span, pack), pack_col(span, pack), kind);
        }
    } else if kind == RAW_EXPS {
        for (; pack < end; pack += LANES) {
            parts = raw_parts(span, pack, parts);
        }
    }
    return parts;
}

// {the weights' sum in two words, the number of classes, the sum of floats} of the classes that are left. Call this in uniform
// control flow.
fn sweep_sums(span: RowSpan, lane: u32, kind: u32) -> vec4<u32> {
    workgroupBarrier();
    for (var i = lane; i < BLOCK_WORDS; i += LANES) {
        atomicStore(&block_sums[i], 0u);
    }
    if lane == 0u {
        atomicStore(&left, 0u);
    }
    workgroupBarrier();
    let packs = block_packs(span);
    let blocks = (span.end + packs - 1u) / packs;
    var count = 0u;
    var floats = 0.0;
    for (var block = 0u; block < blocks; block++) {
        let parts = block_parts(span, block * packs + lane, min((block + 1u) * packs, span.end), kind, may_have_left(block));
        add_to_block(block, sum_of_parts(parts));
        count += parts.count.x + parts.count.y + parts.count.z + parts.count.w;
        floats += (parts.floats.x + parts.floats.y) + (parts.floats.z + parts.floats.w);
    }
    atomicAdd(&left, count);
    lane_lows[lane] = bitcast<u32>(floats);
    workgroupBarrier();
    if lane == 0u {
        var sum = vec2(0u);
        for (var block = 0u; block < blocks; block++) {
            sum = wide_sum(sum, block_sum(block));
            atomicStore(&block_sums[2u * block], sum.x);
            atomicStore(&block_sums[2u * block + 1u], sum.y);
        }
        var total = 0.0;
        for (var i = 0u; i < LANES; i++) {
            total += bitcast<f32>(lane_lows[i]);
        }
        found = vec4(sum, atomicLoad(&left), bitcast<u32>(total));
    }
    return workgroupUniformLoad(&found);
}

// The sums of the lanes before this one: two words, and a count. The last place holds the sum of all lanes. Call this in
// uniform control flow.
fn lanes_before(lane: u32, own: vec2<u32>, count: u32) -> vec3<u32> {
    workgroupBarrier();
    put_lane_sum(lane, own);
    lane_counts[lane] = count;
    workgroupBarrier();
    for (var distance = 1u; distance < LANES; distance *= 2u) {
        var sum = lane_sum(lane);
        var counted = lane_counts[lane];
        if lane >= distance {
            sum = wide_sum(sum, lane_sum(lane - distance));
            counted += lane_counts[lane - distance];
        }
        workgroupBarrier();
        put_lane_sum(lane, sum);
        lane_counts[lane] = counted;
        workgroupBarrier();
    }
    return vec3(wide_difference(lane_sum(lane), own), lane_counts[lane] - count);
}

fn begin_least(lane: u32) {
    workgroupBarrier();
    if lane == 0u {
        atomicStore(&least, NO_CLASS);
    }
    workgroupBarrier();
}

// The least of what the lanes have put there. Call this in uniform control flow.
fn least_of_all(lane: u32) -> u32 {
    workgroupBarrier();
    if lane == 0u {
        found = vec4(atomicLoad(&least), 0u, 0u, 0u);
    }
    return workgroupUniformLoad(&found).x;
}
