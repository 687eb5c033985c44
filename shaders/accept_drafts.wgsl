// Uses: params, seat, row_span, philox, wide, candidates, sampling_record, sampling_support, sampling_sums

// One chain of speculative decoding. Each draft is accepted if u·p < q, until one is not. A token follows the accepted ones: from
// what the draft's probabilities leave of the target's, max(q − p, 0), where a draft was refused; from the target's
// probabilities after the last draft.
//
// A row of the target's probabilities is a chain: its positions lie one after the other, one more than drafts. Weights are
// whole numbers: their sum does not depend on how lanes share a row.

@group(0) @binding(5) var<storage, read> draft_probs: array<u32>;       // f32 bits (chains, drafts, classes)
@group(0) @binding(6) var<storage, read> drafts: array<u32>;            // (chains, drafts)
@group(0) @binding(7) var<storage, read_write> chain_tokens: array<u32>; // (chains, drafts + 1)
@group(0) @binding(8) var<storage, read_write> chains_told: array<u32>;  // of a chain: the drafts accepted, and its flags

const FOR_DRAW: u32 = 0u; // what random words are for, in the highest two bits of a counter's first word
const FOR_ACCEPTING: u32 = 0x40000000u;
const FOR_RESIDUAL: u32 = 0x80000000u;

var<workgroup> top_bits: atomic<u32>;
var<workgroup> seen_flags: atomic<u32>;

// A position of a chain: where its classes begin in the target's and in the draft's probabilities.
struct Position {
    target_at: u32,
    draft_at: u32,
    classes: u32,
    subtracts: bool,
}

// The flags of a probability.
fn flag_of(bits: u32) -> u32 {
    return select(0u, NAN_LOGIT, is_nan(bits)) | select(0u, INFINITE_LOGIT, is_infinite(bits));
}

fn chain_words(record: u32, position: u32, purpose: u32) -> vec4<u32> {
    let counter = vec2(samplings[record + RECORD_COUNTER], samplings[record + RECORD_COUNTER + 1u]);
    let seed = vec2(samplings[record + RECORD_SEED], samplings[record + RECORD_SEED + 1u]);
    return philox(vec4(purpose, samplings[record + RECORD_DRAW], wide_sum(counter, vec2(position, 0u))), seed);
}

// {drafts accepted, flags}.
fn accepted_drafts(span: RowSpan, chain: u32, record: u32, classes: u32) -> vec2<u32> {
    let count = params.entries;
    var accepted = 0u;
    for (; accepted < count; accepted++) {
        let draft = drafts[chain * count + accepted];
        if draft >= classes {
            return vec2(accepted, TARGET_OUT_OF_RANGE);
        }
        let q = raw_logit(span, accepted * classes + draft);
        let p = draft_probs[(chain * count + accepted) * classes + draft];
        let flags = flag_of(q) | flag_of(p);
        if flags != 0u {
            return vec2(accepted, flags);
        }
        // Below 1, also after rounding.
        let u = min(f32(chain_words(record, accepted, FOR_ACCEPTING).x) * 2.3283064365386963e-10, 0.99999994);
        if !(u * bitcast<f32>(p) < bitcast<f32>(q)) {
            break;
        }
    }
    return vec2(accepted, 0u);
}

// What a class weighs, as the bits of a float.
fn weight_bits(span: RowSpan, at: Position, col: u32) -> u32 {
    var value = bitcast<f32>(raw_logit(span, at.target_at + col));
    if at.subtracts {
        value -= bitcast<f32>(draft_probs[at.draft_at + col]);
    }
    return bitcast<u32>(max(value, 0.0)) & MAGNITUDE;
}

// The largest weight's bits, and the flags of a position. Call this in uniform control flow.
fn sweep_largest(span: RowSpan, lane: u32, at: Position) -> vec2<u32> {
    workgroupBarrier();
    if lane == 0u {
        atomicStore(&top_bits, 0u);
        atomicStore(&seen_flags, 0u);
    }
    workgroupBarrier();
    var bits = 0u;
    var flags = 0u;
    for (var col = lane; col < at.classes; col += LANES) {
        flags |= flag_of(raw_logit(span, at.target_at + col));
        if at.subtracts {
            flags |= flag_of(draft_probs[at.draft_at + col]);
        }
        bits = max(bits, weight_bits(span, at, col));
    }
    atomicMax(&top_bits, bits);
    atomicOr(&seen_flags, flags);
    workgroupBarrier();
    if lane == 0u {
        found = vec4(atomicLoad(&top_bits), atomicLoad(&seen_flags), 0u, 0u);
    }
    return workgroupUniformLoad(&found).xy;
}

// A class's weight in fixed point, relative to the power of two above the largest.
fn fixed_weight(span: RowSpan, at: Position, col: u32, scale: f32) -> vec2<u32> {
    let weights = weights_of(vec4(bitcast<f32>(weight_bits(span, at, col)) * scale));
    return wide_of(weights.high.x, weights.low.x);
}

fn sweep_shares(span: RowSpan, at: Position, begin: u32, end: u32, scale: f32) -> vec2<u32> {
    var sum = vec2(0u);
    for (var col = begin; col < end; col++) {
        sum = wide_sum(sum, fixed_weight(span, at, col, scale));
    }
    return sum;
}

fn class_at(span: RowSpan, at: Position, share: vec2<u32>, ahead: vec2<u32>, point: vec2<u32>, scale: f32) -> u32 {
    var sum = ahead;
    for (var col = share.x; col < share.y; col++) {
        sum = wide_sum(sum, fixed_weight(span, at, col, scale));
        if is_less(point, sum) {
            return col;
        }
    }
    return NO_CLASS;
}

// The class at a random point of the weights, in the order of classes. Call this in uniform control flow.
fn drawn_class(span: RowSpan, lane: u32, at: Position, largest: u32, words: vec2<u32>) -> u32 {
    one = bitcast<f32>((127u + min(46u, 32u + countLeadingZeros(at.classes)) - 23u) << 23u);
    let scale = bitcast<f32>((253u - min(largest >> 23u, 252u)) << 23u); // 2^-e for the power of two above it, 2^e
    let width = (at.classes + LANES - 1u) / LANES;
    let begin = min(lane * width, at.classes);
    let end = min(begin + width, at.classes);
    let own = sweep_shares(span, at, begin, end, scale);
    let ahead = lanes_before(lane, own, 0u).xy;
    let point = upper_product(words, lane_sum(LANES - 1u));
    begin_least(lane);
    let has_it = !is_less(point, ahead) && is_less(point, wide_sum(ahead, own));
    if has_it {
        atomicMin(&least, class_at(span, at, vec2(begin, end), ahead, point, scale));
    }
    return least_of_all(lane);
}

@compute @workgroup_size(INVOCATIONS)
fn accept_drafts(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    // There is one chain per workgroup, which all leave together.
    let row = linear_workgroup(workgroup, grid);
    if row >= params.rows { return; }
    let place = seat(row, invocation);
    let lane = place.lane;
    let span = row_span(place);
    let chain = params.first_row + row;
    let record = chain * RECORD_WORDS;
    let count = params.entries;
    let classes = params.cols / (count + 1u);
    if lane == 0u {
        found = vec4(accepted_drafts(span, chain, record, classes), 0u, 0u);
    }
    let told = workgroupUniformLoad(&found).xy;
    let accepted = told.x;
    var at = Position(accepted * classes, (chain * count + accepted) * classes, classes, accepted < count);
    var largest = sweep_largest(span, lane, at);
    var flags = select(told.y, largest.y, told.y == 0u);
    if at.subtracts && (largest.x >> 23u) == 0u {
        // Rounding has left nothing.
        at.subtracts = false;
        largest = sweep_target(span, lane, at);
    }
    // A NaN counts before an infinity.
    flags = select(flags, NAN_LOGIT, (flags & NAN_LOGIT) != 0u);
    if flags == 0u && (largest.x >> 23u) == 0u {
        flags = MASKED_ROW;
    }
    var token = NO_CLASS;
    if flags == 0u {
        let words = chain_words(record, accepted, select(FOR_DRAW, FOR_RESIDUAL, accepted < count));
        token = drawn_class(span, lane, at, largest.x, words.xy);
    }
    for (var i = lane; i <= count; i += LANES) {
        var told_token = NO_CLASS;
        if i < accepted {
            told_token = drafts[chain * count + i];
        } else if i == accepted {
            told_token = token;
        }
        chain_tokens[chain * (count + 1u) + i] = told_token;
    }
    if lane == 0u {
        chains_told[2u * chain] = accepted;
        chains_told[2u * chain + 1u] = flags;
    }
}

// The same for the target's probabilities, where the residual is all zero.
fn sweep_target(span: RowSpan, lane: u32, at: Position) -> vec2<u32> {
    return sweep_largest(span, lane, at);
}
