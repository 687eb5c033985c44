// Uses: seat, pack, row_span, scores, order_key, philox, candidates, sampling_support, sampling_sums, sampling_search

// Draws without replacement, by exponential races: every class has a time E_j / p_j, and those with the shortest come first. The
// E_j are exponential variates, from a random word of each class. A class's key is that of x_j / T − ln E_j, so that the
// largest come first.
//
// As in a search, reads count the classes by eight bits of their key, until those from some key on fit into the pool. One
// more read collects them.

const MORE_WORDS: u32 = 0x20000000u; // added to a group's number: the words that follow its own
const ALL_GROUPS: u32 = 0x3fffffffu;

// A race: the number of the draw, the row's counter and its seed.
struct Race {
    draw: u32,
    counter: vec2<u32>,
    seed: vec2<u32>,
}

// The random words of four classes. A quad may begin within a group of four.
fn race_words(race: Race, col: u32, from_group: u32) -> vec4<u32> {
    let group = col >> 2u;
    let own = philox(vec4(group + from_group, race.draw, race.counter), race.seed);
    let next = philox(vec4(((group + 1u) & ALL_GROUPS) + from_group, race.draw, race.counter), race.seed);
    switch col & 3u {
        case 1u: { return vec4(own.yzw, next.x); }
        case 2u: { return vec4(own.zw, next.xy); }
        case 3u: { return vec4(own.w, next.xyz); }
        default: { return own; }
    }
}

// E = −ln(1 − u) with u = (w + ½) / 2^32. Near u = 0 by the series, so that no digit is lost, and with 32 bits more.
fn exponentials(race: Race, col: u32) -> vec4<f32> {
    let words = race_words(race, col, 0u);
    var halves = vec4(0.5);
    if any(words < vec4(65536u)) {
        let low = (vec4<f32>(race_words(race, col, MORE_WORDS)) + vec4(0.5)) * 2.3283064365386963e-10;
        halves = select(halves, low, words < vec4(65536u));
    }
    let u = (vec4<f32>(words) + halves) * 2.3283064365386963e-10;
    let series = u * (vec4(1.0) + u * (vec4(0.5) + u * (vec4(0.33333334) + u * (vec4(0.25) + u * vec4(0.2)))));
    let rest = (vec4<f32>(~words) + vec4(0.5)) * 2.3283064365386963e-10; // 1 − u
    return select(-log(rest), series, u < vec4(0.03125));
}

// The keys of four classes in the race, 0 for those that take no part: left out, or of weight 0.
fn race_keys(scores: vec4<u32>, col: u32, race: Race) -> vec4<u32> {
    let weights = weights_of(exps_of(scores));
    let takes_part = (weights.high + weights.low > vec4(0u)) & is_among(scores, col, Which(true, 0u, false));
    if !any(takes_part) {
        return vec4(0u);
    }
    let goals = distances(scores) - log(exponentials(race, col));
    return select(vec4(0u), unsigned_keys(bitcast<vec4<u32>>(goals)), takes_part);
}

// Collects a class whose key is at least `from` in the bits from `shift` on; or counts it by the eight bits there, if those
// above are `from`.
fn take_runner(key: u32, col: u32, shift: u32, from_key: u32, collects: bool) {
    if key == 0u {
        return;
    }
    if collects {
        if (key >> shift) >= from_key {
            push_candidate(key, col, CAPACITY);
        }
    } else if ((key >> shift) >> 8u) == from_key {
        atomicAdd(&pool[3u * ((key >> shift) & 255u)], 1u);
    }
}

// Call this in uniform control flow.
fn sweep_runners(span: RowSpan, lane: u32, race: Race, shift: u32, from_key: u32, collects: bool) {
    clear_pool(lane);
    for (var quad = lane; quad < span.end * (PACK_VALUES / 4u); quad += LANES) {
        let pack = quad / (PACK_VALUES / 4u);
        let scores = score_edge(span, pack);
        let is_second = quad % (PACK_VALUES / 4u) == 1u;
        let col = pack_col(span, pack) + select(0u, 4u, is_second);
        let keys = race_keys(select(scores.a, scores.b, vec4(is_second)), col, race);
        take_runner(keys.x, col, shift, from_key, collects);
        take_runner(keys.y, col + 1u, shift, from_key, collects);
        take_runner(keys.z, col + 2u, shift, from_key, collects);
        take_runner(keys.w, col + 3u, shift, from_key, collects);
    }
    workgroupBarrier();
}

// The first `wanted` classes of a race, sorted in the pool: {where the first one is, how many there are}. Call this in uniform
// control flow.
fn run_race(span: RowSpan, lane: u32, race: Race, wanted: u32) -> vec2<u32> {
    var from_key = 0u;
    var shift = 24u;
    var before = vec3(0u);
    for (var level = 0u; level < 4u; level++) {
        shift = 24u - 8u * level;
        sweep_runners(span, lane, race, shift, from_key, false);
        let digit = find_digit(lane, before, vec3(0u, 0u, wanted));
        workgroupBarrier();
        if digit.x == DIGITS {
            // Fewer than are wanted take part.
            from_key = 0u;
            break;
        }
        from_key = (from_key << 8u) | digit.x;
        before.z = digit.z;
        // More classes with one key than the pool holds, at the last level, would need as many equal random words.
        if digit.z + digit.y <= CAPACITY {
            break;
        }
    }
    sweep_runners(span, lane, race, shift, from_key, true);
    let all = min(candidate_count(lane), CAPACITY);
    workgroupBarrier();
    return vec2(sort_candidates(all, lane, RANKED), all);
}
