// Uses: params, sums, row_input, totals

// From targets, weights, masks and upstream gradients to one record per row, and the totals that the gradient of a mean
// needs before its first value. Reads no logit.

override SPARSE: bool;        // targets are classes with probabilities; the record says which row's
override CLASS_WEIGHTS: bool; // weights of class targets, which enter the denominator of a mean
override ROW_WEIGHTS: bool;
override ROW_MASK: bool;
override UPSTREAM: bool;     // one value for the reduced loss
override ROW_UPSTREAM: bool; // one value for each row's loss
override SEQUENCES: bool;    // rows are positions of sequences

@group(0) @binding(4) var<storage, read> classes: array<u32>; // i32 bits, (rows,) or (rows, entries)
// An array of words: a store to one component of a vector may touch the others, which belong to other invocations' rows.
@group(0) @binding(5) var<storage, read_write> inputs: array<u32>;
@group(0) @binding(6) var<storage, read_write> block_totals: array<Totals>;
@group(0) @binding(7) var<storage, read> row_weights: array<u32>;   // f32 bits, (rows,)
@group(0) @binding(8) var<storage, read> class_weights: array<u32>; // f32 bits, (cols,)
@group(0) @binding(9) var<storage, read> row_mask: array<u32>;      // 0 leaves a row out, (rows,)
@group(0) @binding(10) var<storage, read> upstream: array<u32>;     // f32 bits, (1,)
@group(0) @binding(11) var<storage, read> row_upstream: array<u32>; // f32 bits, (rows,)

fn is_zero(bits: u32) -> bool {
    return (bits & MAGNITUDE) == 0u;
}

// The row whose target this row uses; NO_CLASS if the row is left out.
fn target_row(row: u32) -> u32 {
    if !SEQUENCES { return row; }
    let position = row % params.sequence_length;
    if position < params.score_from || position >= params.score_to { return NO_CLASS; }
    // Neither sum can overflow, because shift is at most the length of the sequence.
    if position + params.shift >= params.sequence_length || row + params.shift >= params.rows { return NO_CLASS; }
    return row + params.shift;
}

// The factor of the gradient of the row's loss, as bits.
fn row_gradient(row: u32, weight: f32) -> u32 {
    var gradient = params.upstream;
    var is_number = is_finite(bitcast<u32>(gradient));
    if UPSTREAM {
        gradient *= bitcast<f32>(upstream[0]);
        is_number = is_number && is_finite(upstream[0]);
    }
    if ROW_UPSTREAM {
        gradient *= bitcast<f32>(row_upstream[row]);
        is_number = is_number && is_finite(row_upstream[row]);
    }
    return select(NAN, bitcast<u32>(gradient * weight), is_number);
}

fn ignored() -> RowInput {
    return RowInput(NO_CLASS, 0.0, 0u, IGNORED);
}

fn input_of(row: u32) -> RowInput {
    let whose = target_row(row);
    if whose == NO_CLASS { return ignored(); }
    // Masks and weights of tokens are where the target is.
    let of_inputs = row + select(0u, params.input_shift, SEQUENCES);
    if ROW_MASK && row_mask[of_inputs] == 0u { return ignored(); }
    var weight = 0x3f800000u; // 1
    if ROW_WEIGHTS {
        weight = row_weights[of_inputs];
        if is_zero(weight) { return ignored(); }
    }
    var flags = 0u;
    var class_index = whose;
    var left_out = params.entries > 0u;
    for (var i = 0u; i < params.entries; i++) {
        let index = classes[whose * params.entries + i];
        if index == params.ignore_index { continue; }
        left_out = false;
        if index >= params.classes {
            flags |= TARGET_OUT_OF_RANGE;
        } else if CLASS_WEIGHTS && !SPARSE && !is_weight(class_weights[index]) {
            flags |= INVALID_WEIGHT;
        }
        if !SPARSE { class_index = index; }
    }
    if left_out { return ignored(); }
    if !is_weight(weight) { flags |= INVALID_WEIGHT; }
    if flags != 0u { return RowInput(class_index, 0.0, 0u, flags); }
    return RowInput(class_index, bitcast<f32>(weight), row_gradient(row, bitcast<f32>(weight)), 0u);
}

fn store_input(row: u32, input: RowInput) {
    if PLAIN_INPUTS {
        inputs[4u * INPUT_HEAD + row] = pack_plain_input(input);
        return;
    }
    let record = pack_row_input(input);
    let at = 4u * (INPUT_HEAD + row);
    inputs[at] = record.x;
    inputs[at + 1u] = record.y;
    inputs[at + 2u] = record.z;
    inputs[at + 3u] = record.w;
}

fn totals_of_input(row: u32, input: RowInput) -> Totals {
    if input.flags == IGNORED { return identity(); }
    if input.flags != 0u {
        let bad_row = select(NO_CLASS, row, (input.flags & TARGET_OUT_OF_RANGE) != 0u);
        return Totals(0.0, 0.0, 0.0, 0.0, 0u, input.flags, bad_row, 0u);
    }
    var weight = input.weight;
    if CLASS_WEIGHTS && !SPARSE && params.entries > 0u {
        weight *= bitcast<f32>(class_weights[input.class_index]);
    }
    return Totals(0.0, 0.0, weight, input.weight, 1u, 0u, NO_CLASS, 0u);
}

// What a row adds to the batch. Also writes the row's record.
fn totals_of(row: u32) -> Totals {
    let input = input_of(row);
    store_input(row, input);
    return totals_of_input(row, input);
}

@compute @workgroup_size(REDUCE_LANES)
fn row_inputs(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = linear_workgroup(workgroup, grid);
    let block_start = block * BLOCK_ROWS;
    if block_start >= params.rows { return; }
    let block_end = min(block_start + BLOCK_ROWS, params.rows);
    let total = workgroup_totals(block_start, block_end, lane);
    if lane == 0u {
        block_totals[block] = total;
    }
}
