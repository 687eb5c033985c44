// Uses: params, seat, row_span, lane_tree, sum_of_bits, sweep_output

// The gradient of InfoNCE with respect to the similarities S: the sum of that of the rows' losses and that of the columns'. Each
// row also gets its part of the gradient with respect to the logarithm of the scale, Σ dS·S.
//
// So that no term overflows, dS is multiplied by a power of two of at most T, and a similarity from 2^63 on by 2^-64. Those are
// summed apart. A dS of 0 removes its term, even where S is −∞.

// f32 bits, (N, N), four values per load, with room behind the last.
@group(0) @binding(4) var<storage, read> row_gradients: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> column_gradients: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> row_terms: array<vec4<u32>>; // {near, far, marks, 0}, (N,)

const FAR: u32 = 0x5f000000u;           // 2^63
const FAR_SCALE: f32 = 5.421010862e-20; // 2^-64

struct PairTerms {
    near: f32,
    far: f32,
    marks: u32, // flags of a row's loss: NAN_LOSS, PLUS_INFINITE, MINUS_INFINITE
}

alias LaneSum = PairTerms;

var<workgroup> lane_terms: array<PairTerms, INVOCATIONS>;
var<private> own_terms: PairTerms;

fn identity() -> PairTerms {
    return PairTerms(0.0, 0.0, 0u);
}

fn combine(a: PairTerms, b: PairTerms) -> PairTerms {
    return PairTerms(a.near + b.near, a.far + b.far, a.marks | b.marks);
}

fn put_lane(at: u32, terms: PairTerms) {
    lane_terms[at] = terms;
}

fn lane_at(at: u32) -> PairTerms {
    return lane_terms[at];
}

struct Record {
    first: u32, // where the row begins in the gradients of the rows and of the columns
}

fn may_be_nan(record: Record) -> bool {
    return true;
}

fn row_gradient_at(at: u32) -> u32 {
    return row_gradients[at / 4u][at % 4u];
}

fn column_gradient_at(at: u32) -> u32 {
    return column_gradients[at / 4u][at % 4u];
}

// The sums of the gradients of four columns. One outside the row has some value.
fn gradient_sums(cols: vec4<u32>, record: Record) -> vec4<u32> {
    let first = record.first + cols.x;
    if cols.x < params.cols && first % 4u == 0u {
        return sum_of_bits(row_gradients[first / 4u], column_gradients[first / 4u]);
    }
    let at = vec4(record.first) + min(cols, vec4(params.cols - 1u));
    return sum_of_bits(
        vec4(row_gradient_at(at.x), row_gradient_at(at.y), row_gradient_at(at.z), row_gradient_at(at.w)),
        vec4(column_gradient_at(at.x), column_gradient_at(at.y), column_gradient_at(at.z), column_gradient_at(at.w)),
    );
}

// The gradient of four similarities. Their terms are added to the lane's own: each column of a row comes once.
fn output_quad(similarities: vec4<u32>, span: RowSpan, col: u32, record: Record) -> vec4<u32> {
    let cols = four_cols(col);
    let gradients = gradient_sums(cols, record);
    // A column before the row has wrapped below 0.
    let counts = (cols < vec4(params.cols)) & ((gradients & vec4(MAGNITUDE)) != vec4(0u));
    let sizes = max(gradients & vec4(MAGNITUDE), similarities & vec4(MAGNITUDE));
    let is_negative = ((gradients ^ similarities) >> vec4(31u)) == vec4(1u);
    let infinite = counts & (sizes == vec4(INFINITY));
    own_terms.marks |= select(0u, NAN_LOSS, any(counts & (sizes > vec4(INFINITY))))
        | select(0u, PLUS_INFINITE, any(infinite & !is_negative))
        | select(0u, MINUS_INFINITE, any(infinite & is_negative));
    let scaled = bitcast<vec4<f32>>(gradients) * params.pair_scale;
    let is_far = (similarities & vec4(MAGNITUDE)) >= vec4(FAR);
    let finite = counts & (sizes < vec4(INFINITY));
    let near = select(vec4(0.0), scaled * bitcast<vec4<f32>>(similarities), finite & !is_far);
    let far = select(vec4(0.0), scaled * (bitcast<vec4<f32>>(similarities) * FAR_SCALE), finite & is_far);
    own_terms.near += (near.x + near.y) + (near.z + near.w);
    own_terms.far += (far.x + far.y) + (far.z + far.w);
    return gradients;
}

fn finished_pack(pair: QuadPair, span: RowSpan, pack: u32, record: Record) -> QuadPair {
    return pair;
}

@compute @workgroup_size(INVOCATIONS)
fn pair_gradients(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let span = row_span(at);
    let row = params.first_row + at.row;
    own_terms = identity();
    if at.taken {
        sweep_output(span, at.lane, Record(row * params.cols));
    }
    let terms = over_lanes(own_terms, at.first, at.lane, LANES);
    if at.taken && at.lane == 0u {
        row_terms[row] = vec4(bitcast<u32>(terms.near), bitcast<u32>(terms.far), terms.marks, 0u);
    }
}
