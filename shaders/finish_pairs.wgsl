// Uses: params, totals, wide_product, sum_of_bits

// The loss of InfoNCE from those of the rows and of the columns, each of which is half of its mean, and the gradient with respect
// to the logarithm of the scale, from the rows' terms.

@group(0) @binding(4) var<storage, read> row_loss: array<u32>;    // laid out as LossRecord in Rust
@group(0) @binding(5) var<storage, read> column_loss: array<u32>; // likewise
@group(0) @binding(6) var<storage, read> row_terms: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read_write> loss: array<u32>; // laid out as InfoNceRecord in Rust
@group(0) @binding(8) var<storage, read_write> dlog_scale: array<u32>; // one f32

const FROM_FAR: f32 = 1.8446744e19; // 2^64

fn totals_of(row: u32) -> Totals {
    let terms = row_terms[row];
    return Totals(bitcast<f32>(terms.x), bitcast<f32>(terms.y), 0.0, 0.0, 0u, terms.z, NO_CLASS, 0u);
}

// The gradient of the logarithm as bits, from the sums of the near and of the far terms.
fn slope_bits(total: Totals) -> u32 {
    let marks = total.flags;
    if (marks & NAN_LOSS) != 0u || (marks & (PLUS_INFINITE | MINUS_INFINITE)) == (PLUS_INFINITE | MINUS_INFINITE) {
        return NAN;
    }
    if marks != 0u {
        return select(NEG_INFINITY, INFINITY, marks == PLUS_INFINITE);
    }
    // 1 / the power of two that the gradients were multiplied by.
    let inverse = bitcast<f32>((254u << 23u) - bitcast<u32>(params.pair_scale));
    let near = total.sum;
    let far = total.z_loss;
    if far == 0.0 {
        return bitcast<u32>(wide_product(vec4(near, inverse, 1.0, 1.0)));
    }
    return bitcast<u32>(wide_product(vec4(far + near / FROM_FAR, FROM_FAR, inverse, 1.0)));
}

@compute @workgroup_size(REDUCE_LANES)
fn finish_pairs(@builtin(local_invocation_index) lane: u32) {
    let total = workgroup_totals(0u, params.rows, lane);
    if lane != 0u { return; }
    dlog_scale[0] = slope_bits(total);
    let halves = vec4(row_loss[0], row_loss[0], column_loss[0], 0u);
    let sums = sum_of_bits(halves, vec4(column_loss[0], row_loss[0], column_loss[0], 0u));
    loss[0] = sums.x;
    loss[1] = sums.y;
    loss[2] = sums.z;
    loss[3] = (row_loss[4] | column_loss[4]) | (loss_flags(sums.x) | (loss_flags(sums.y) | loss_flags(sums.z)));
}
