// Uses: seat, order_key

// Where the largest classes of short rows are; a workgroup has several rows. A lane's steps go to its blocks in turn, and the top
// of a block is its largest order key. At least n classes of a row have the nth largest top or a larger key, seldom many more,
// and they are in blocks whose top is not below it.
//
// The tops are in the pool, a lane's beside one another, until candidates take their place.

const POOL_WORDS: u32 = 2048u;
const MOST_BLOCKS: u32 = 32u; // a bit each in a mask
const MOST_CLASSES: u32 = 8u; // the largest n

var<workgroup> pool: array<u32, POOL_WORDS>;
var<workgroup> lane_heads: array<vec2<u32>, INVOCATIONS>;

var<private> own_first: u32; // where the lane's tops begin
var<private> own_steps: u32; // steps, and packs outside the steps, that the lane has seen so far

// Blocks of a lane, a power of two.
fn lane_blocks() -> u32 {
    return min(POOL_WORDS / INVOCATIONS, MOST_BLOCKS);
}

fn begin_tops(at: Seat) {
    own_first = (at.first + at.lane) * lane_blocks();
    own_steps = 0u;
    for (var i = 0u; i < lane_blocks(); i++) {
        pool[own_first + i] = 0u;
    }
}

fn raise_top(key: u32) {
    let block = own_first + (own_steps & (lane_blocks() - 1u));
    pool[block] = max(pool[block], key);
    own_steps++;
}

// Eight keys, the largest first.
struct Largest {
    a: vec4<u32>,
    b: vec4<u32>,
}

fn with_key(largest: Largest, key: u32) -> Largest {
    // Those above the key stay, it takes its place, and the others move on.
    let a = largest.a;
    let b = largest.b;
    let before_a = vec4(0xffffffffu, a.xyz);
    let before_b = vec4(a.w, b.xyz);
    return Largest(max(a, min(before_a, vec4(key))), max(b, min(before_b, vec4(key))));
}

// The largest tops of a lane.
fn largest_tops() -> Largest {
    var largest = Largest();
    for (var i = 0u; i < lane_blocks(); i++) {
        largest = with_key(largest, pool[own_first + i]);
    }
    return largest;
}

fn key_at(largest: Largest, i: u32) -> u32 {
    return select(largest.a[i & 3u], largest.b[i & 3u], i > 3u);
}

// The best of the lanes' heads, each a key and a number. Call this in uniform control flow.
fn best_head(own: vec2<u32>, at: Seat) -> vec2<u32> {
    workgroupBarrier();
    lane_heads[at.first + at.lane] = own;
    workgroupBarrier();
    var best = own;
    for (var i = 0u; i < LANES; i++) {
        let other = lane_heads[at.first + i];
        if comes_before(other, best) {
            best = other;
        }
    }
    return best;
}

// A key that at least n classes of the row have or exceed: their nth largest top. Call this in uniform control flow.
fn top_with_rank(at: Seat, n: u32) -> u32 {
    let largest = largest_tops();
    var key = key_at(largest, n - 1u);
    if LANES > 1u {
        var taken = 0u;
        for (var i = 0u; i < n; i++) {
            let own = vec2(select(key_at(largest, taken), 0u, taken == MOST_CLASSES), at.lane);
            let best = best_head(own, at);
            key = best.x;
            if best.y == at.lane {
                taken++;
            }
        }
    }
    return max(key, UNSIGNED_NEG_INFINITY);
}

// The lane's blocks with this top or a larger one, a bit each.
fn blocks_from(key: u32) -> u32 {
    var mask = 0u;
    for (var i = 0u; i < lane_blocks(); i++) {
        mask |= select(0u, 1u << i, pool[own_first + i] >= key);
    }
    return mask;
}
