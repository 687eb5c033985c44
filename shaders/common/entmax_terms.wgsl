// Uses: params, seat, pack, row_span, scores, entmax_lists

// Sums over the classes of a row at a threshold θ, with u = (α − 1)·(max x − x) and r = 1 / (α − 1).

override ENTMAX_POWER: u32; // r, if it is 1 or 2; else 0

const CHUNK: u32 = 16u;    // terms that are summed separately
const OUTSIDE: f32 = 2.0;  // a u that no θ reaches

// u of four scores. It is OUTSIDE for −∞, and finite.
fn below_max(scores: vec4<u32>, base: f32) -> vec4<f32> {
    let halves = min(vec4(0.5 * base) - 0.5 * bitcast<vec4<f32>>(scores), vec4(1e30));
    return select(halves * params.entmax_twice_slope, vec4(OUTSIDE), scores == vec4(NEG_INFINITY));
}

// (θ − u)₊^r.
fn powers(margins: vec4<f32>) -> vec4<f32> {
    let y = max(margins, vec4(0.0));
    if ENTMAX_POWER == 1u {
        return y;
    } else if ENTMAX_POWER == 2u {
        return y * y;
    }
    let exponents = params.entmax_power * log2(max(y, vec4(1e-37)));
    return select(exp2(max(exponents, vec4(-150.0))), vec4(0.0), y == vec4(0.0));
}

// The terms of four classes at a θ: of Σ (θ − u)₊^r, of its derivative divided by r, and of Σ u·(θ − u)₊^r.
struct Terms {
    power: vec4<f32>,
    slope: vec4<f32>,
    moment: vec4<f32>,
}

fn with_terms(sum: Terms, below: vec4<f32>, theta: f32) -> Terms {
    let margins = vec4(theta) - below;
    let inside = margins > vec4(0.0);
    let power = powers(margins);
    var slope = vec4(1.0);
    if ENTMAX_POWER == 2u {
        slope = margins;
    } else if ENTMAX_POWER == 0u {
        slope = power / select(vec4(1.0), margins, inside);
    }
    return Terms(
        sum.power + power,
        sum.slope + select(vec4(0.0), slope, inside),
        sum.moment + select(vec4(0.0), below * power, inside),
    );
}

fn no_terms() -> Terms {
    return Terms(vec4(0.0), vec4(0.0), vec4(0.0));
}

fn both_terms(a: Terms, b: Terms) -> Terms {
    return Terms(a.power + b.power, a.slope + b.slope, a.moment + b.moment);
}

fn folded(sum: Terms) -> vec4<f32> {
    let a = vec4(sum.power.x, sum.slope.x, sum.moment.x, 0.0);
    let b = vec4(sum.power.y, sum.slope.y, sum.moment.y, 0.0);
    let c = vec4(sum.power.z, sum.slope.z, sum.moment.z, 0.0);
    let d = vec4(sum.power.w, sum.slope.w, sum.moment.w, 0.0);
    return (a + b) + (c + d);
}

fn listed_at(at: u32) -> f32 {
    if at < own_listed {
        return lists[own_list + at];
    }
    return OUTSIDE;
}

// A lane's sums over its list.
fn listed_terms(theta: f32) -> Terms {
    var sum = no_terms();
    var i = 0u;
    while i < own_listed {
        let end = min(i + 4u * CHUNK, own_listed);
        var chunk = no_terms();
        for (; i < end; i += 4u) {
            let below = vec4(listed_at(i), listed_at(i + 1u), listed_at(i + 2u), listed_at(i + 3u));
            chunk = with_terms(chunk, below, theta);
        }
        sum = both_terms(sum, chunk);
    }
    return sum;
}

// Lists those of four classes that are below a limit.
fn relist(below: vec4<f32>, limit: f32) {
    for (var i = 0u; i < 4u; i++) {
        if below[i] < limit {
            push_class(below[i]);
        }
    }
}

// A lane's sums over its part of the row, whose classes with u below the limit are listed anew.
fn terms_again(span: RowSpan, lane: u32, base: f32, theta: f32, limit: f32) -> Terms {
    own_listed = 0u;
    var sum = no_terms();
    let packs = all_packs(span);
    var i = lane;
    while i < packs {
        let end = min(packs, i + 4u * CHUNK * LANES);
        var chunk = no_terms();
        for (; i < end; i += LANES) {
            let scores = score_edge(span, nth_pack(span, i));
            for (var half = 0u; half < PACK_VALUES / 4u; half++) {
                let below = below_max(select(scores.a, scores.b, half == 1u), base);
                chunk = with_terms(chunk, below, theta);
                relist(below, limit);
            }
        }
        sum = both_terms(sum, chunk);
    }
    return sum;
}

// A lane's sums at θ. Classes with u from a limit on are in the support at no later θ.
fn terms_at(span: RowSpan, lane: u32, base: f32, theta: f32, limit: f32) -> vec4<f32> {
    if is_listed() {
        return folded(listed_terms(theta));
    }
    return folded(terms_again(span, lane, base, theta, limit));
}

// The scores of the list become their u.
fn measure_list(base: f32) {
    let kept = min(own_listed, list_capacity());
    for (var i = 0u; i < kept; i++) {
        let score = bitcast<u32>(lists[own_list + i]);
        lists[own_list + i] = below_max(vec4(score), base).x;
    }
}
