// Uses: params, seat, order_key

// A pool of workgroup memory for the search of a row's largest classes. It counts order keys by some of their bits, or holds
// candidates: a key and a column each. There is one row per workgroup.

const POOL_WORDS: u32 = 2048u; // one count for each value of 11 bits
const CAPACITY: u32 = 1024u;   // candidates, of two words

var<workgroup> pool: array<atomic<u32>, 2048>;
var<workgroup> candidates: atomic<u32>; // how many are in the pool
var<workgroup> lane_counts: array<u32, INVOCATIONS>;
var<workgroup> found: vec4<u32>;

// Empties the pool. Call this in uniform control flow.
fn clear_pool(lane: u32) {
    workgroupBarrier();
    for (var i = lane; i < POOL_WORDS; i += LANES) {
        atomicStore(&pool[i], 0u);
    }
    begin_candidates(lane);
}

// Begins with no candidates. Call this in uniform control flow.
fn begin_candidates(lane: u32) {
    workgroupBarrier();
    if lane == 0u {
        atomicStore(&candidates, 0u);
    }
    workgroupBarrier();
}

fn put_candidate(at: u32, key: u32, col: u32) {
    atomicStore(&pool[2u * at], key);
    atomicStore(&pool[2u * at + 1u], col);
}

// Counts a candidate, and keeps it if there is room.
fn push_candidate(key: u32, col: u32, capacity: u32) {
    let at = atomicAdd(&candidates, 1u);
    if at < capacity {
        put_candidate(at, key, col);
    }
}

// Finds the highest count at which this many keys are reached, from the top: {its place, the keys above it, its keys}. Call
// this in uniform control flow, after a barrier.
fn search_pool(wanted: u32, lane: u32) -> vec3<u32> {
    let share = POOL_WORDS / LANES;
    var sum = 0u;
    for (var i = 0u; i < share; i++) {
        sum += atomicLoad(&pool[POOL_WORDS - 1u - lane * share - i]);
    }
    lane_counts[lane] = sum;
    workgroupBarrier();
    if lane == 0u {
        var above = 0u;
        var part = 0u;
        while part + 1u < LANES && above + lane_counts[part] < wanted {
            above += lane_counts[part];
            part++;
        }
        var place = POOL_WORDS - 1u - part * share;
        var inside = atomicLoad(&pool[place]);
        while place > 0u && above + inside < wanted {
            above += inside;
            place--;
            inside = atomicLoad(&pool[place]);
        }
        found = vec4(place, above, inside, 0u);
    }
    return workgroupUniformLoad(&found).xyz;
}

// How many candidates have been counted. Call this in uniform control flow, after a barrier.
fn candidate_count(lane: u32) -> u32 {
    if lane == 0u {
        found = vec4(atomicLoad(&candidates), 0u, 0u, 0u);
    }
    return workgroupUniformLoad(&found).x;
}

fn candidate_at(at: u32) -> vec2<u32> {
    return vec2(atomicLoad(&pool[2u * at]), atomicLoad(&pool[2u * at + 1u]));
}

// Sorts the candidates, the first place first, and returns where the first one is. A few, at most half of what the pool holds,
// are sorted by their ranks. Call this in uniform control flow.
fn sort_candidates(count: u32, lane: u32, few: u32) -> u32 {
    if count <= few {
        rank_candidates(count, lane);
        return CAPACITY / 2u;
    }
    merge_candidates(count, lane);
    return 0u;
}

// A few candidates: each goes to its rank in the other half of the pool, without barriers.
fn rank_candidates(count: u32, lane: u32) {
    workgroupBarrier();
    for (var i = lane; i < count; i += LANES) {
        let own = candidate_at(i);
        var rank = 0u;
        for (var j = 0u; j < count; j++) {
            let key = atomicLoad(&pool[2u * j]);
            if key > own.x || (key == own.x && atomicLoad(&pool[2u * j + 1u]) < own.y) {
                rank++;
            }
        }
        put_candidate(CAPACITY / 2u + rank, own.x, own.y);
    }
    workgroupBarrier();
}

// Sorts by a bitonic network (Batcher 1968).
fn merge_candidates(count: u32, lane: u32) {
    var size = 1u;
    while size < count {
        size *= 2u;
    }
    for (var i = count + lane; i < size; i += LANES) {
        put_candidate(i, 0u, NO_CLASS);
    }
    workgroupBarrier();
    for (var run = 2u; run <= size; run *= 2u) {
        for (var stride = run / 2u; stride > 0u; stride /= 2u) {
            for (var i = lane; i < size / 2u; i += LANES) {
                let at = 2u * i - (i & (stride - 1u));
                let a = candidate_at(at);
                let b = candidate_at(at + stride);
                let stays = comes_before(a, b) == ((at & run) == 0u);
                let first = select(b, a, stays);
                let second = select(a, b, stays);
                put_candidate(at, first.x, first.y);
                put_candidate(at + stride, second.x, second.y);
            }
            workgroupBarrier();
        }
    }
}
