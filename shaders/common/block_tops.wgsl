// Uses: params, seat, pack, row_span, scores, order_key, candidates

// Where the largest classes of a row are. A row is dealt out to blocks: each lane's steps go to the lane's blocks in turn, so
// that neighbouring steps are in different blocks. The first read keeps the largest order key of each block, its top. At least
// n classes have the nth largest top or a larger key, seldom many more, and they are in blocks whose top is not below it. So
// the n largest classes are found by reading a few blocks again.
//
// The tops are in the pool, from its begin on, until candidates take their place.

const MOST_BLOCKS: u32 = 1024u;
const LEAST_BLOCKS: u32 = 64u;
const SEARCH_ROUNDS: u32 = 24u;
const BLOCK_LIST: u32 = 1024u; // where the list of blocks begins in the pool
const LIST_CAPACITY: u32 = 512u; // candidates before the list

var<private> own_lane: u32;
var<private> own_packs: u32;  // packs that the lane has seen so far
var<private> block_mask: u32; // the number of blocks, a power of two, less 1

// Eight blocks for each class that is wanted: then about an eighth of the row is read again.
fn all_blocks() -> u32 {
    let wished = 1u << (32u - countLeadingZeros(8u * params.entries - 1u));
    return clamp(wished, max(LEAST_BLOCKS, LANES), MOST_BLOCKS);
}

// No other lane has these blocks.
fn begin_tops(lane: u32) {
    own_lane = lane;
    own_packs = 0u;
    block_mask = all_blocks() - 1u;
    for (var block = lane; block <= block_mask; block += LANES) {
        atomicStore(&pool[block], 0u);
    }
}

// Adds the lane's next packs, up to a step of them, with this largest key.
fn raise_top(key: u32, packs: u32) {
    let block = ((own_packs / STEP_PACKS * LANES) & block_mask) + own_lane;
    atomicStore(&pool[block], max(atomicLoad(&pool[block]), key));
    own_packs += packs;
}

// About the top with this rank, at least 1: no fewer tops have this key or a larger one. `highest` is the row's largest key.
// Call this in uniform control flow, after a barrier.
fn top_with_rank(lane: u32, rank: u32, highest: u32) -> u32 {
    if lane == 0u {
        atomicStore(&candidates, 0u);
        found = vec4(highest, 0u, 0u, 0u);
    }
    var low = UNSIGNED_NEG_INFINITY;
    // The blocks that have classes are no fewer than this.
    let lane_packs = params.cols / (PACK_VALUES * LANES);
    let filled = min(all_blocks(), (lane_packs + STEP_PACKS - 1u) / STEP_PACKS * LANES);
    if filled < rank {
        return low;
    }
    var high = workgroupUniformLoad(&found).x;
    var middle = high - min(high - low, 1u << 24u); // a quarter of the largest logit
    var counted = 0u;
    for (var round = 0u; round < SEARCH_ROUNDS && low < high; round++) {
        var own = 0u;
        for (var block = lane; block <= block_mask; block += LANES) {
            own += select(0u, 1u, atomicLoad(&pool[block]) >= middle);
        }
        atomicAdd(&candidates, own);
        workgroupBarrier();
        if lane == 0u {
            found = vec4(atomicLoad(&candidates), 0u, 0u, 0u);
        }
        let all = workgroupUniformLoad(&found).x;
        let count = all - counted;
        counted = all;
        if count < rank {
            high = middle - 1u;
        } else {
            low = middle;
            // All blocks have any key that is low enough.
            if count < filled && count <= rank + rank / 8u + 1u {
                break;
            }
        }
        middle = high - (high - low) / 2u;
    }
    return low;
}

fn push_from(scores: vec4<u32>, col: u32, key: u32) {
    let keys = unsigned_keys(scores);
    let takes = (keys >= vec4(key)) & (four_cols(col) < vec4(params.cols));
    if !any(takes) {
        return;
    }
    if takes.x { push_candidate(keys.x, col, LIST_CAPACITY); }
    if takes.y { push_candidate(keys.y, col + 1u, LIST_CAPACITY); }
    if takes.z { push_candidate(keys.z, col + 2u, LIST_CAPACITY); }
    if takes.w { push_candidate(keys.w, col + 3u, LIST_CAPACITY); }
}

// The classes of a block with at least this key.
fn push_block(span: RowSpan, block: u32, key: u32) {
    let all = all_packs(span);
    // A step of all lanes is STEP_PACKS packs of each of them, LANES apart.
    var first = block / LANES * STEP_PACKS * LANES + block % LANES;
    for (; first < all; first += (block_mask + 1u) * STEP_PACKS) {
        for (var n = first; n < min(first + STEP_PACKS * LANES, all); n += LANES) {
            let pack = nth_pack(span, n);
            let scores = score_edge(span, pack);
            let col = pack_col(span, pack);
            push_from(scores.a, col, key);
            if PACKED {
                push_from(scores.b, col + 4u, key);
            }
        }
    }
}

// Puts the classes with at least this key into the pool, in the place of the tops, and returns how many they are. If they are
// more than LIST_CAPACITY, not all are there. Call this in uniform control flow.
fn collect_from(span: RowSpan, lane: u32, key: u32) -> u32 {
    begin_candidates(lane);
    for (var block = lane; block <= block_mask; block += LANES) {
        if atomicLoad(&pool[block]) >= key {
            atomicStore(&pool[BLOCK_LIST + atomicAdd(&candidates, 1u)], block);
        }
    }
    workgroupBarrier();
    let listed = candidate_count(lane);
    begin_candidates(lane);
    for (var i = lane; i < listed; i += LANES) {
        push_block(span, atomicLoad(&pool[BLOCK_LIST + i]), key);
    }
    workgroupBarrier();
    return candidate_count(lane);
}
