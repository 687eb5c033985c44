// Uses: params, seat, row_span, cap, scores, order_key, row_stats, candidates

// The k largest classes of a row, sorted, ties by lower index, without sorting the row. The first read gives the stats and
// counts the order keys by their upper 11 bits. The counts say from which key on the classes are candidates, and the second
// read collects those. If they are more than the pool holds, up to two reads look at the other bits of the key that the kth
// class has. If too many classes share that key itself, one more read takes the first of them by index.

override TOP_VALUES: u32;  // 0: logits, 1: log-probabilities, 2: probabilities
override RENORMALIZE: bool; // probabilities among the k classes

@group(0) @binding(4) var<storage, read_write> top_indices: array<u32>;
@group(0) @binding(5) var<storage, read_write> top_values: array<u32>;

// Keys whose bits from `prefix_shift` on are `prefix` are counted by `mask` bits from `shift` on; without a mask, keys from
// `prefix` on are candidates.
struct Job {
    prefix_shift: u32,
    prefix: u32,
    shift: u32,
    mask: u32,
}

fn take_key(key: u32, col: u32, job: Job) {
    if col >= params.cols {
        return;
    }
    if job.mask == 0u {
        if key >= job.prefix {
            push_candidate(key, col);
        }
    } else if (key >> job.prefix_shift) == job.prefix {
        atomicAdd(&pool[(key >> job.shift) & job.mask], 1u);
    }
}

fn take_four(scores: vec4<u32>, col: u32, job: Job) {
    let keys = unsigned_keys(scores);
    take_key(keys.x, col, job);
    take_key(keys.y, col + 1u, job);
    take_key(keys.z, col + 2u, job);
    take_key(keys.w, col + 3u, job);
}

fn take_pack(span: RowSpan, pack: u32, job: Job) {
    let scores = score_edge(span, pack);
    let col = pack_col(span, pack);
    take_four(scores.a, col, job);
    if PACKED {
        take_four(scores.b, col + 4u, job);
    }
}

// One more read of the row. Call this in uniform control flow.
fn sweep_keys(span: RowSpan, lane: u32, job: Job) {
    clear_pool(lane);
    for (var i = lane; i < all_packs(span); i += LANES) {
        take_pack(span, nth_pack(span, i), job);
    }
    workgroupBarrier();
}

// Counts a class if it has this key, or takes it as the candidate at a place, if there are not k yet.
fn next_tie(own: u32, col: u32, key: u32, place: u32, takes: bool) -> u32 {
    if own != key || col >= params.cols {
        return place;
    }
    if takes && place < params.entries {
        put_candidate(place, key, col);
    }
    return place + 1u;
}

fn ties_of_four(scores: vec4<u32>, col: u32, key: u32, place: u32, takes: bool) -> u32 {
    let keys = unsigned_keys(scores);
    let x = next_tie(keys.x, col, key, place, takes);
    let y = next_tie(keys.y, col + 1u, key, x, takes);
    let z = next_tie(keys.z, col + 2u, key, y, takes);
    return next_tie(keys.w, col + 3u, key, z, takes);
}

fn ties_of_pack(span: RowSpan, pack: u32, key: u32, place: u32, takes: bool) -> u32 {
    let scores = score_edge(span, pack);
    let col = pack_col(span, pack);
    let next = ties_of_four(scores.a, col, key, place, takes);
    if PACKED {
        return ties_of_four(scores.b, col + 4u, key, next, takes);
    }
    return next;
}

// Adds the first classes with this key by index to the candidates, until there are k. A lane takes neighbouring packs. Call
// this in uniform control flow.
fn sweep_ties(span: RowSpan, lane: u32, key: u32, before: u32) {
    let share = (span.end + LANES - 1u) / LANES;
    let begin = min(lane * share, span.end);
    let end = min(begin + share, span.end);
    var ties = 0u;
    for (var pack = begin; pack < end; pack++) {
        ties = ties_of_pack(span, pack, key, ties, false);
    }
    lane_counts[lane] = ties;
    workgroupBarrier();
    var place = before;
    for (var i = 0u; i < lane; i++) {
        place += lane_counts[i];
    }
    for (var pack = begin; pack < end && place < params.entries; pack++) {
        place = ties_of_pack(span, pack, key, place, true);
    }
    workgroupBarrier();
}

// Puts the candidates into the pool, at least k, and returns how many they are. Call this in uniform control flow.
fn find_candidates(span: RowSpan, lane: u32) -> u32 {
    let k = params.entries;
    if params.cols <= CAPACITY {
        return candidate_count(lane);
    }
    // The lowest key of the candidates, and the keys above the place of the kth.
    let first = search_pool(k, lane);
    var low = first.x << 21u;
    var above = first.y;
    var total = above + first.z;
    if total > CAPACITY {
        sweep_keys(span, lane, Job(21u, first.x, 10u, 2047u));
        let second = search_pool(k - above, lane);
        low |= second.x << 10u;
        above += second.y;
        total = above + second.z;
        if total > CAPACITY {
            sweep_keys(span, lane, Job(10u, low >> 10u, 0u, 1023u));
            let third = search_pool(k - above, lane);
            low |= third.x;
            above += third.y;
            total = above + third.z;
        }
    }
    if total <= CAPACITY {
        sweep_keys(span, lane, Job(0u, low, 0u, 0u));
        return candidate_count(lane);
    }
    // The key of NaN is the largest: then none is above it.
    clear_pool(lane);
    if above > 0u {
        sweep_keys(span, lane, Job(0u, low + 1u, 0u, 0u));
    }
    sweep_ties(span, lane, low, above);
    return k;
}

// The score of a key, as bits, before the cap.
fn score_of(unsigned_key: u32) -> u32 {
    let key = bitcast<i32>(unsigned_key ^ 0x80000000u);
    let bits = select(bitcast<u32>(row_max(key)), NEG_INFINITY, key <= KEY_NEG_INFINITY);
    return select(bits, NAN, key == KEY_NAN);
}

fn capped_bits(bits: u32) -> u32 {
    return select(bits, bitcast<u32>(capped_one(bitcast<f32>(bits))), is_finite(bits));
}

// The sum that probabilities are divided by: of all classes, or of the k.
fn top_sum(stats: RowStats) -> f32 {
    if !RENORMALIZE {
        return stats.sum_exp;
    }
    var sum = 0.0;
    for (var i = 0u; i < params.entries; i++) {
        let bits = score_of(atomicLoad(&pool[2u * i]));
        sum += select(scaled_exp(capped_one(bitcast<f32>(bits)), stats.base), 0.0, bits == NEG_INFINITY);
    }
    return sum;
}

fn value_bits(bits: u32, stats: RowStats, sum: f32) -> u32 {
    let flags = stats_flags(stats);
    if TOP_VALUES == 0u {
        return capped_bits(bits);
    }
    if flags != 0u {
        return special_bits(flags, select(0u, NEG_INFINITY, TOP_VALUES == 1u));
    }
    let s = capped_one(bitcast<f32>(bits));
    if TOP_VALUES == 1u {
        let half_below = 0.5 * s - 0.5 * stats.base;
        let log_p = half_below * params.twice_inverse_temperature - select(log(sum), 0.0, sum == 1.0);
        return select(bitcast<u32>(log_p), NEG_INFINITY, bits == NEG_INFINITY);
    }
    return select(bitcast<u32>(scaled_exp(s, stats.base) / sum), 0u, bits == NEG_INFINITY);
}

@compute @workgroup_size(INVOCATIONS)
fn top_k(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    // There is one row per workgroup, which all leave together.
    let row = linear_workgroup(workgroup, grid);
    if row >= params.rows { return; }
    let at = seat(row, invocation);
    let span = row_span(at);
    let stats = row_stats(span, at, true);
    workgroupBarrier();
    let count = find_candidates(span, at.lane);
    sort_candidates(count, at.lane);
    let sum = top_sum(stats);
    let first = (params.first_row + at.row) * params.entries;
    for (var i = at.lane; i < params.entries; i += LANES) {
        top_indices[first + i] = atomicLoad(&pool[2u * i + 1u]);
        top_values[first + i] = value_bits(score_of(atomicLoad(&pool[2u * i])), stats, sum);
    }
}
