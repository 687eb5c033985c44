// Uses: params, seat, row_span, score, scores, order_key, wide, candidates, sampling_support, sampling_sums

// The shortest part of the order of a row's classes that has enough of them and enough of their weight, without sorting the row.
//
// The first read of the row has found the largest key of each of its blocks. At least n classes have the nth largest of these
// keys or a larger one, and seldom far more. One read collects them into the pool, where they are sorted. This is tried with a
// quarter of the blocks and with nearly all.
//
// If the part is longer, a read counts the classes by eight bits of their key, and adds up their weights. This says in which
// value of these bits the part ends; four reads find the key itself. As soon as the classes left to choose from fit into the
// pool, one more read collects them. If too many classes have the same key, two reads find the last one by its column.

const DIGITS: u32 = 256u;
const RANKED: u32 = 128u; // candidates that are sorted by their ranks
const HITS: u32 = 512u; // as many packs as `block_sums` has words

// What a search does with a class.
struct Task {
    shift: u32,
    prefix: u32, // only classes with these bits above the eight bits at `shift`, or from `shift` on, if it collects
    collects: bool,
    nearest_first: bool,
}

fn take_class(key: u32, col: u32, high: u32, low: u32, task: Task) {
    if task.collects {
        if (key >> task.shift) == task.prefix {
            push_candidate(key, col, CAPACITY);
        }
    } else if ((key >> task.shift) >> 8u) == task.prefix {
        let at = 3u * ((key >> task.shift) & 255u);
        let sum = wide_of(high, low);
        atomicAdd(&pool[at], 1u);
        let before = atomicAdd(&pool[at + 1u], sum.x);
        atomicAdd(&pool[at + 2u], sum.y + select(0u, 1u, before + sum.x < before));
    }
}

fn take_classes(scores: vec4<u32>, col: u32, task: Task) {
    let cols = four_cols(col);
    let taken = (scores != vec4(NEG_INFINITY)) & is_left(scores, cols);
    let keys = search_keys(scores, task.nearest_first);
    let weights = weights_of(exps_of(scores));
    if taken.x { take_class(keys.x, cols.x, weights.high.x, weights.low.x, task); }
    if taken.y { take_class(keys.y, cols.y, weights.high.y, weights.low.y, task); }
    if taken.z { take_class(keys.z, cols.z, weights.high.z, weights.low.z, task); }
    if taken.w { take_class(keys.w, cols.w, weights.high.w, weights.low.w, task); }
}

// Call this in uniform control flow.
fn sweep_classes(span: RowSpan, lane: u32, task: Task) {
    clear_pool(lane);
    for (var pack = lane; pack < span.end; pack += LANES) {
        let scores = score_edge(span, pack);
        let col = pack_col(span, pack);
        take_classes(scores.a, col, task);
        if PACKED {
            take_classes(scores.b, col + 4u, task);
        }
    }
    workgroupBarrier();
}

// The digit in which the part ends, and its classes: {digit, classes of it, classes before it}; the weights before it are in
// the place of the first lane. A digit of DIGITS says that all classes are not enough. Call this in uniform control flow, after
// a sweep.
fn find_digit(lane: u32, before: vec3<u32>, goal: vec3<u32>) -> vec4<u32> {
    if lane == 0u {
        var sum = before;
        var result = vec4(DIGITS, 0u, 0u, 0u);
        for (var i = 0u; i < DIGITS; i++) {
            let digit = DIGITS - 1u - i;
            let inside = atomicLoad(&pool[3u * digit]);
            let weight = vec2(atomicLoad(&pool[3u * digit + 1u]), atomicLoad(&pool[3u * digit + 2u]));
            let both = with_class(sum, weight, inside);
            if is_enough(both, goal) {
                result = vec4(digit, inside, sum.z, 0u);
                break;
            }
            sum = both;
        }
        put_lane_sum(0u, sum.xy);
        found = result;
    }
    return workgroupUniformLoad(&found);
}

fn weight_at(span: RowSpan, col: u32) -> vec2<u32> {
    let weights = weights_of(exps_of(vec4(score(span, col))));
    return wide_of(weights.high.x, weights.low.x);
}

// The last class of the part among the candidates, which are sorted: {key, column, 1 if they are enough}. Call this in uniform
// control flow.
fn find_candidate(span: RowSpan, lane: u32, before: vec3<u32>, goal: vec3<u32>) -> vec3<u32> {
    let all = candidate_count(lane);
    let sorted = sort_candidates(all, lane, RANKED);
    let share = (all + LANES - 1u) / LANES;
    let begin = min(lane * share, all);
    let end = min(begin + share, all);
    var own = vec2(0u);
    for (var i = begin; i < end; i++) {
        own = wide_sum(own, weight_at(span, candidate_at(sorted + i).y));
    }
    var sum = with_class(before, lanes_before(lane, own, 0u).xy, begin);
    begin_least(lane);
    for (var i = begin; i < end; i++) {
        sum = with_class(sum, weight_at(span, candidate_at(sorted + i).y), 1u);
        if is_enough(sum, goal) {
            atomicMin(&least, i);
            break;
        }
    }
    let end_of_part = least_of_all(lane);
    let last = min(end_of_part, max(all, 1u) - 1u);
    if lane == 0u {
        let is_found = select(0u, 1u, end_of_part != NO_CLASS);
        found = vec4(candidate_at(sorted + last), is_found, 0u);
    }
    return workgroupUniformLoad(&found).xyz;
}

// Of the largest keys of the blocks, about the one with this rank: at least as many are not below it. Call this in uniform
// control flow.
fn top_with_rank(lane: u32, blocks: u32, rank: u32) -> u32 {
    var key = 0u;
    for (var bit = 31u; bit > 15u; bit--) {
        let larger = key | (1u << bit);
        var count = 0u;
        for (var block = lane; block < blocks; block += LANES) {
            count += select(0u, 1u, atomicLoad(&block_tops[block]) >= larger);
        }
        workgroupBarrier();
        if lane == 0u {
            atomicStore(&left, 0u);
        }
        workgroupBarrier();
        atomicAdd(&left, count);
        workgroupBarrier();
        key = select(key, larger, atomicLoad(&left) >= rank);
    }
    return key;
}

fn keys_from(scores: vec4<u32>, col: u32, key: u32) -> vec4<bool> {
    let is_candidate = (unsigned_keys(scores) >= vec4(key)) & (scores != vec4(NEG_INFINITY));
    return is_candidate & is_left(scores, four_cols(col));
}

fn push_from(scores: vec4<u32>, col: u32, key: u32) {
    let takes = keys_from(scores, col, key);
    let keys = unsigned_keys(scores);
    if takes.x { push_candidate(keys.x, col, CAPACITY); }
    if takes.y { push_candidate(keys.y, col + 1u, CAPACITY); }
    if takes.z { push_candidate(keys.z, col + 2u, CAPACITY); }
    if takes.w { push_candidate(keys.w, col + 3u, CAPACITY); }
}

// Collects the classes with at least this key, and returns how many they are, or NO_CLASS if they are too many. Call this in
// uniform control flow.
fn sweep_candidates(span: RowSpan, lane: u32, key: u32) -> u32 {
    workgroupBarrier();
    if lane == 0u {
        atomicStore(&left, 0u);
        atomicStore(&candidates, 0u);
    }
    workgroupBarrier();
    // First the packs that have some: atomic operations for each class would take most of the time.
    let packs = block_packs(span);
    for (var block = 0u; block * packs < span.end; block++) {
        if atomicLoad(&block_tops[block]) < key {
            continue;
        }
        for (var pack = block * packs + lane; pack < min((block + 1u) * packs, span.end); pack += LANES) {
            let scores = score_edge(span, pack);
            let col = pack_col(span, pack);
            var hits = keys_from(scores.a, col, key);
            if PACKED {
                hits |= keys_from(scores.b, col + 4u, key);
            }
            if any(hits) {
                let at = atomicAdd(&left, 1u);
                if at < HITS {
                    atomicStore(&block_sums[at], pack);
                }
            }
        }
    }
    workgroupBarrier();
    for (var i = lane; i < min(atomicLoad(&left), HITS); i += LANES) {
        let pack = atomicLoad(&block_sums[i]);
        let scores = score_edge(span, pack);
        let col = pack_col(span, pack);
        push_from(scores.a, col, key);
        if PACKED {
            push_from(scores.b, col + 4u, key);
        }
    }
    workgroupBarrier();
    if lane == 0u {
        let all = atomicLoad(&candidates);
        found = vec4(select(all, NO_CLASS, atomicLoad(&left) > HITS || all > CAPACITY), 0u, 0u, 0u);
    }
    return workgroupUniformLoad(&found).x;
}

// The end of the part, if it is among the classes from the key of this rank on: {key, column, 1}. Call this in uniform control
// flow.
fn guess_part(span: RowSpan, lane: u32, blocks: u32, rank: u32, goal: vec3<u32>) -> vec3<u32> {
    let count = sweep_candidates(span, lane, top_with_rank(lane, blocks, rank));
    if count == NO_CLASS || count < goal.z {
        return vec3(0u);
    }
    return find_candidate(span, lane, vec3(0u), goal);
}

// The last class of the part among those with this key. Call this in uniform control flow.
fn find_alike(span: RowSpan, lane: u32, before: vec3<u32>, key: u32, nearest_first: bool, goal: vec3<u32>) -> vec2<u32> {
    let share = (span.end + LANES - 1u) / LANES;
    let begin = min(lane * share, span.end);
    let end = min(begin + share, span.end);
    let which = Which(false, key, nearest_first);
    let own = sum_of_packs(span, begin, end, which);
    let ahead = lanes_before(lane, own.xy, own.z);
    begin_least(lane);
    atomicMin(&least, goal_in_packs(span, begin, end, which, with_class(before, ahead.xy, ahead.z), goal));
    return vec2(key, least_of_all(lane));
}

// The last class of the shortest part of the order, among the classes that are left, that is long enough for the goal: {key,
// column}. If all are not enough, {0, NO_CLASS}. Call this in uniform control flow.
fn find_part(span: RowSpan, lane: u32, goal: vec3<u32>, nearest_first: bool) -> vec2<u32> {
    if !nearest_first && goal.z <= BLOCKS {
        let packs = block_packs(span);
        let blocks = (span.end + packs - 1u) / packs;
        var rank = max(goal.z, blocks / 4u);
        for (var guess = 0u; guess < 2u; guess++) {
            let part = guess_part(span, lane, blocks, rank, goal);
            if part.z == 1u {
                return part.xy;
            }
            rank = max(goal.z, blocks - blocks / 8u);
        }
    }
    var prefix = 0u;
    var before = vec3(0u); // the weights and the number of the classes before the prefix
    for (var level = 0u; level < 4u; level++) {
        let shift = 24u - 8u * level;
        sweep_classes(span, lane, Task(shift, prefix, false, nearest_first));
        let digit = find_digit(lane, before, goal);
        if digit.x == DIGITS {
            return vec2(0u, NO_CLASS);
        }
        workgroupBarrier();
        before = vec3(lane_sum(0u), digit.z);
        prefix = (prefix << 8u) | digit.x;
        if digit.y <= CAPACITY {
            sweep_classes(span, lane, Task(shift, prefix, true, nearest_first));
            return find_candidate(span, lane, before, goal).xy;
        }
    }
    return find_alike(span, lane, before, prefix, nearest_first, goal);
}
