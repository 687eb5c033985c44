// Uses: params, seat, row_span

// The scores of a row in f32, after its bias, its penalties and its mask. They are written to a copy, which the next pass
// reads in place of the logits.

const HEAD_WORDS: u32 = 5u;  // of a row's record: {classes, where its mask begins (0: none), θ, 1 / θ, the limit of products}
const CLASS_WORDS: u32 = 3u; // of a class: {class, with the highest bit if θ applies; bias; what is subtracted}
const HIGHEST: f32 = 3.4028234e38; // the highest finite f32

@group(0) @binding(3) var<storage, read_write> changed: array<u32>;
@group(0) @binding(8) var<storage, read> changes: array<u32>;

// Whether a row's mask, if it has one, allows a class.
fn is_allowed(mask: u32, col: u32) -> bool {
    if mask == 0u {
        return true;
    }
    return ((changes[mask + col / 32u] >> (col % 32u)) & 1u) == 1u;
}

fn store_changed(span: RowSpan, col: u32, score: u32) {
    changed[row_start(span.row, params.output_base, params.row_stride) + col_offset(col)] = score;
}

// A class that is not allowed may be anything, a NaN too.
fn store_allowed(span: RowSpan, col: u32, score: u32, mask: u32) {
    if col < params.cols {
        store_changed(span, col, select(NEG_INFINITY, score, is_allowed(mask, col)));
    }
}

fn store_four(span: RowSpan, col: u32, scores: vec4<u32>, mask: u32) {
    store_allowed(span, col, scores.x, mask);
    store_allowed(span, col + 1u, scores.y, mask);
    store_allowed(span, col + 2u, scores.z, mask);
    store_allowed(span, col + 3u, scores.w, mask);
}

// The sum of two numbers, limited to finite ones. Their halves have the same digits, and do not overflow.
fn limited_sum(a: f32, b: f32) -> f32 {
    return 2.0 * clamp(0.5 * a + 0.5 * b, 0.5 * LOWEST, 0.5 * HIGHEST);
}

// A finite score after the changes of its class.
fn changed_score(logit: f32, at: u32, head: u32) -> u32 {
    let bias = changes[at + 1u];
    if !is_finite(bias) {
        return NEG_INFINITY;
    }
    var score = limited_sum(logit, bitcast<f32>(bias));
    if (changes[at] >> 31u) == 1u {
        let factor = bitcast<f32>(changes[head + select(2u, 3u, score > 0.0)]);
        let limit = select(HIGHEST, bitcast<f32>(changes[head + 4u]), factor > 1.0);
        score = clamp(score, -limit, limit) * factor;
    }
    // The limits round the product: it is not one operation with the difference.
    return bitcast<u32>(limited_sum(clamp(score, LOWEST, HIGHEST), -bitcast<f32>(changes[at + 2u])));
}

fn sweep_changes(span: RowSpan, lane: u32, mask: u32) {
    for (var pack = lane; pack < span.end; pack += LANES) {
        let scores = raw_edge(span, pack);
        let col = pack_col(span, pack);
        store_four(span, col, scores.a, mask);
        if PACKED {
            store_four(span, col + 4u, scores.b, mask);
        }
    }
}

// Changes the classes that are listed for the row, if they are allowed.
fn change_listed(span: RowSpan, lane: u32, head: u32, mask: u32) {
    for (var i = lane; i < changes[head]; i += LANES) {
        let at = head + HEAD_WORDS + i * CLASS_WORDS;
        let col = changes[at] & 0x7fffffffu;
        if col < params.cols {
            let logit = raw_logit(span, col);
            if is_finite(logit) && is_allowed(mask, col) {
                store_changed(span, col, changed_score(bitcast<f32>(logit), at, head));
            }
        }
    }
}

@compute @workgroup_size(INVOCATIONS)
fn change_scores(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    // There is one row per workgroup, which all leave together.
    let row = linear_workgroup(workgroup, grid);
    if row >= params.rows { return; }
    let place = seat(row, invocation);
    let span = row_span(place);
    let head = (params.first_row + row) * params.entries;
    let mask = select(0u, head + changes[head + 1u], changes[head + 1u] != 0u);
    sweep_changes(span, place.lane, mask);
    storageBarrier();
    workgroupBarrier();
    change_listed(span, place.lane, head, mask);
}
