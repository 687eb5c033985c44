// Uses: params, seat, row_span, score, scores, order_key, wide, philox, candidates, sampling_record, sampling_support, sampling_sums, sampling_steps, sampling_races

// Tokens drawn from a row. The first read finds the largest logit. The steps leave out classes, each by as many reads as it
// needs (`sampling_search`). The last read adds up the weights of the classes that are left, block by block. A draw is one
// random number of 64 bits: it says at which point of the sum, in the order of classes, the token is. Without replacement, each
// class has a random number of its own (`sampling_races`).

override TRUNCATES_FIRST: bool; // the steps see temperature 1
override REPLACEMENT: bool;     // whether a class may be drawn more than once

@group(0) @binding(5) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(6) var<storage, read_write> log_probs: array<u32>; // of a sample: what it was drawn from, and the logits'
@group(0) @binding(7) var<storage, read_write> rows_told: array<u32>; // of a row: how many classes were left, and its flags

var<workgroup> largest: atomic<u32>;

// The keys of four classes, 0 for those that are not left, if there are any.
fn keys_left(scores: vec4<u32>, col: u32, is_after: bool) -> vec4<u32> {
    let keys = unsigned_keys(scores);
    if is_after {
        return select(vec4(0u), keys, is_left(scores, four_cols(col)));
    }
    return keys;
}

fn largest_of(keys: vec4<u32>) -> u32 {
    return max(max(keys.x, keys.y), max(keys.z, keys.w));
}

// The first class of a lane, so far: its key and its step, by the first pack.
fn first_of_two(so_far: vec2<u32>, key: u32, pack: u32) -> vec2<u32> {
    return select(so_far, vec2(key, pack), vec2(key > so_far.x));
}

fn col_of_key(keys: vec4<u32>, col: u32, key: u32) -> u32 {
    let cols = four_cols(col);
    let hits = select(vec4(NO_CLASS), cols, (keys == vec4(key)) & (cols < vec4(params.cols)));
    return min(min(hits.x, hits.y), min(hits.z, hits.w));
}

// The first class of a lane in a block, from its first pack there on.
fn first_in_block(span: RowSpan, first: u32, end: u32, is_after: bool) -> vec2<u32> {
    var found_first = vec2(0u);
    var pack = first;
    // Whole packs, STEP_PACKS at a time.
    let whole = select(min(end, span.whole), 0u, is_after);
    for (; pack >= span.lead && pack + (STEP_PACKS - 1u) * LANES < whole; pack += STEP_PACKS * LANES) {
        let a = score_pack(span, pack);
        let b = score_pack(span, pack + LANES);
        var key = 0;
        if PACKED {
            key = largest_key(a.a, a.b, b.a, b.b);
        } else {
            let c = score_pack(span, pack + 2u * LANES);
            let d = score_pack(span, pack + 3u * LANES);
            key = largest_key(a.a, b.a, c.a, d.a);
        }
        found_first = first_of_two(found_first, unsigned_key(key), pack);
    }
    for (; pack < end; pack += LANES) {
        let scores = score_edge(span, pack);
        let col = pack_col(span, pack);
        var key = largest_of(keys_left(scores.a, col, is_after));
        if PACKED {
            key = max(key, largest_of(keys_left(scores.b, col + 4u, is_after)));
        }
        found_first = first_of_two(found_first, key, pack);
    }
    return found_first;
}

// The first class of the row, or, after the steps, of those that are left: {its key, its column}. Call this in uniform control
// flow.
fn sweep_first(span: RowSpan, lane: u32, is_after: bool) -> vec2<u32> {
    if lane == 0u {
        atomicStore(&largest, 0u);
    }
    begin_least(lane);
    let begins = TRUNCATES && !is_after;
    for (var block = lane; begins && block < BLOCKS; block += LANES) {
        atomicStore(&block_tops[block], 0u);
    }
    workgroupBarrier();
    var first = vec2(0u);
    let packs = block_packs(span);
    for (var block = 0u; block * packs < span.end; block++) {
        let of_block = first_in_block(span, block * packs + lane, min((block + 1u) * packs, span.end), is_after);
        if begins {
            atomicMax(&block_tops[block], of_block.x);
        }
        first = first_of_two(first, of_block.x, of_block.y);
    }
    atomicMax(&largest, first.x);
    workgroupBarrier();
    let key = atomicLoad(&largest);
    if first.x == key && key > 0u {
        for (var i = 0u; i < STEP_PACKS; i++) {
            let pack = first.y + i * LANES;
            if pack < span.end {
                let scores = score_edge(span, pack);
                let col = pack_col(span, pack);
                atomicMin(&least, col_of_key(keys_left(scores.a, col, is_after), col, key));
                if PACKED {
                    atomicMin(&least, col_of_key(keys_left(scores.b, col + 4u, is_after), col + 4u, key));
                }
            }
        }
    }
    workgroupBarrier();
    if lane == 0u {
        found = vec4(atomicLoad(&largest), atomicLoad(&least), 0u, 0u);
    }
    return workgroupUniformLoad(&found).xy;
}

fn flags_of(key: u32) -> u32 {
    switch bitcast<i32>(key ^ 0x80000000u) {
        case KEY_NAN: { return NAN_LOGIT; }
        case KEY_INFINITY: { return INFINITE_LOGIT; }
        case KEY_NEG_INFINITY: { return MASKED_ROW; }
        default: { return 0u; }
    }
}

fn store_sample(sample: u32, token: u32, log_p: u32, raw: u32) {
    tokens[sample] = token;
    log_probs[2u * sample] = log_p;
    log_probs[2u * sample + 1u] = raw;
}

// The block with a point of the sum, by bisection.
fn block_at(point: vec2<u32>, blocks: u32) -> u32 {
    var low = 0u;
    var high = blocks - 1u;
    while low < high {
        let middle = (low + high) / 2u;
        if is_less(point, block_sum(middle)) {
            high = middle;
        } else {
            low = middle + 1u;
        }
    }
    return low;
}

// The token at a point of the sum. Call this in uniform control flow.
fn token_at(span: RowSpan, lane: u32, point: vec2<u32>) -> u32 {
    let packs = block_packs(span);
    let block = block_at(point, (span.end + packs - 1u) / packs);
    let before = select(vec2(0u), block_sum(max(block, 1u) - 1u), vec2(block > 0u));
    let share = packs / LANES;
    let begin = min(block * packs + lane * share, span.end);
    let end = min(begin + share, span.end);
    let which = Which(true, 0u, false);
    let own = sum_of_packs(span, begin, end, which).xy;
    let ahead = lanes_before(lane, own, 0u).xy;
    begin_least(lane);
    // An adapter need not give an exponential the same bits everywhere: the point stays within this block's sum.
    let sum = lane_sum(LANES - 1u);
    let last = wide_difference(sum, vec2(1u, 0u));
    let within = wide_difference(point, before);
    let place = select(within, last, vec2(is_less(last, within)));
    // The first lane that reaches it has the class.
    let goal = vec3(wide_sum(place, vec2(1u, 0u)), 0u);
    atomicMin(&least, goal_in_packs(span, begin, end, which, vec3(ahead, 0u), goal));
    return least_of_all(lane);
}

// The first class that is left. A step may have left out the row's first class.
fn first_left(span: RowSpan, lane: u32, first: vec2<u32>) -> vec2<u32> {
    if (SAMPLING_STEPS & HEADLESS) != 0u {
        return sweep_first(span, lane, true);
    }
    return first;
}

// Stores a token with its log-probabilities: what it was drawn from, and the logits'.
fn store_drawn(span: RowSpan, sample: u32, token: u32, ln_sum: f32, ln_raw: f32) {
    let half = 0.5 * bitcast<f32>(score(span, token));
    let log_p = (half - half_base) * twice_inverse - ln_sum;
    store_sample(sample, token, bitcast<u32>(log_p), bitcast<u32>(2.0 * (half - half_top) - ln_raw));
}

@compute @workgroup_size(INVOCATIONS)
fn sample(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    // There is one row per workgroup, which all leave together.
    let row = linear_workgroup(workgroup, grid);
    if row >= params.rows { return; }
    let place = seat(row, invocation);
    let lane = place.lane;
    let span = row_span(place);
    begin_row(place);
    let record = (params.first_row + row) * RECORD_WORDS;
    let first_sample = (params.first_row + row) * params.entries;
    let told = 2u * (params.first_row + row);

    let first = sweep_first(span, lane, false);
    let flags = flags_of(first.x);
    if flags != 0u {
        for (var i = lane; i < params.entries; i += LANES) {
            store_sample(first_sample + i, NO_CLASS, NAN, NAN);
        }
        if lane == 0u {
            rows_told[told] = 0u;
            rows_told[told + 1u] = flags;
        }
        return;
    }
    let wished = bitcast<f32>(samplings[record + RECORD_TEMPERATURE]);
    let is_greedy = wished == 0.0;
    let temperature = select(wished, 1.0, is_greedy);
    begin_support(select(temperature, 1.0, TRUNCATES_FIRST), first);
    if TRUNCATES && !is_greedy {
        leave_out(span, lane, record);
    }
    set_temperature(temperature);
    let base = first_left(span, lane, first);
    set_base(base.x);
    let sums = sweep_sums(span, lane, RAW_EXPS);
    if lane == 0u {
        rows_told[told] = select(sums.z, 1u, is_greedy);
        rows_told[told + 1u] = 0u;
    }
    let ln_sum = select(ln_of_sum(sums.xy), 0.0, is_greedy);
    let ln_raw = log(bitcast<f32>(sums.w));
    let seed = vec2(samplings[record + RECORD_SEED], samplings[record + RECORD_SEED + 1u]);
    let counter = vec2(samplings[record + RECORD_COUNTER], samplings[record + RECORD_COUNTER + 1u]);
    let race = Race(samplings[record + RECORD_DRAW], counter, seed);
    if !REPLACEMENT {
        var runners = vec2(0u, 1u);
        if !is_greedy {
            runners = run_race(span, lane, race, params.entries);
        }
        for (var i = lane; i < params.entries; i += LANES) {
            if i < runners.y {
                let token = select(candidate_at(runners.x + i).y, first.y, is_greedy);
                store_drawn(span, first_sample + i, token, ln_sum, ln_raw);
            } else {
                store_sample(first_sample + i, NO_CLASS, NAN, NAN);
            }
        }
        return;
    }
    for (var i = 0u; i < params.entries; i++) {
        var token = first.y;
        if !is_greedy {
            let words = philox(vec4(0u, race.draw + i, counter), seed);
            token = token_at(span, lane, upper_product(words.xy, sums.xy));
            token = select(token, base.y, token == NO_CLASS);
        }
        if lane == 0u {
            store_drawn(span, first_sample + i, token, ln_sum, ln_raw);
        }
    }
}
