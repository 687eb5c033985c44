// Uses: params, seat, row_span, scores, order_key, row_stats, candidates, block_tops, top_values

// The k largest classes of a row, sorted, ties by lower index, without sorting the row. The first read gives the stats and the
// largest key of each block of the row. These say which blocks may have classes among the k largest, and from which key on a
// class is a candidate: only those blocks are read again.
//
// If the candidates are more than the pool holds (because values are equal, or very close), up to three reads count the keys by
// 11 bits each, until the candidates are few enough for one more read to collect them, or until only classes with the same key
// are too many: then two reads take the first of them by index.

const RANKED: u32 = 256u; // candidates that are sorted by their ranks

// What a read does with the keys from `low` to `high`: it counts them by `(key − low) >> shift`, or collects them.
struct Job {
    low: u32,
    high: u32,
    shift: u32,
    collects: bool,
}

fn take_key(key: u32, col: u32, job: Job) {
    if key < job.low || key > job.high || col >= params.cols {
        return;
    }
    if job.collects {
        push_candidate(key, col, CAPACITY);
    } else {
        atomicAdd(&pool[(key - job.low) >> job.shift], 1u);
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

// Collects the classes above this key, which are `above`, and the first ones with it by index, until there are k. A lane takes
// neighbouring packs. Call this in uniform control flow.
fn sweep_ties(span: RowSpan, lane: u32, key: u32, above: u32) {
    let share = (span.end + LANES - 1u) / LANES;
    let begin = min(lane * share, span.end);
    let end = min(begin + share, span.end);
    begin_candidates(lane);
    var ties = 0u;
    for (var pack = begin; pack < end; pack++) {
        ties = ties_of_pack(span, pack, key, ties, false);
        if above > 0u { // then a larger key exists
            take_pack(span, pack, Job(key + 1u, NO_CLASS, 0u, true));
        }
    }
    lane_counts[lane] = ties;
    workgroupBarrier();
    var place = above;
    for (var i = 0u; i < lane; i++) {
        place += lane_counts[i];
    }
    for (var pack = begin; pack < end && place < params.entries; pack++) {
        place = ties_of_pack(span, pack, key, place, true);
    }
    workgroupBarrier();
}

// Puts the candidates into the pool, at least k, and returns how many they are. `highest` is the row's largest key. Call this
// in uniform control flow.
fn find_candidates(span: RowSpan, lane: u32, highest: u32) -> u32 {
    let k = params.entries;
    // At least k classes have this key or a larger one.
    var low = top_with_rank(lane, k, highest);
    if k <= LIST_CAPACITY && (low > UNSIGNED_NEG_INFINITY || params.cols <= LIST_CAPACITY) {
        let count = collect_from(span, lane, low);
        if count <= LIST_CAPACITY {
            return count;
        }
    }
    // The kth class is among the `total` classes with the keys from `low` to `high`; `above` classes have larger ones.
    if lane == 0u {
        found = vec4(highest, 0u, 0u, 0u);
    }
    var high = workgroupUniformLoad(&found).x;
    var above = 0u;
    var total = params.cols;
    while above + total > CAPACITY && low < high {
        let shift = max(32u - countLeadingZeros(high - low), 11u) - 11u;
        sweep_keys(span, lane, Job(low, high, shift, false));
        let digit = search_pool(k - above, lane);
        low += digit.x << shift;
        high = low + ((1u << shift) - 1u);
        above += digit.y;
        total = digit.z;
    }
    if above + total <= CAPACITY {
        sweep_keys(span, lane, Job(low, NO_CLASS, 0u, true));
        return candidate_count(lane);
    }
    sweep_ties(span, lane, low, above);
    return k;
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
    let count = find_candidates(span, at.lane, unsigned_key(stats.key));
    let sorted = sort_candidates(count, at.lane, RANKED);
    let first = (params.first_row + at.row) * params.entries;
    for (var i = at.lane; i < params.entries; i += LANES) {
        let candidate = candidate_at(sorted + i);
        top_indices[first + i] = candidate.y;
        top_values[first + i] = candidate.x;
    }
    finish_values(stats, at, first);
}
