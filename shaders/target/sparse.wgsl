// Uses: params, row_span, score, row_stats, class_weights, row_input, row_result

// Sparse targets: a few classes of each row with their probabilities; all other classes have probability 0.
//
//     loss = (1 − ε) · Σ_i w_i·q_i·ℓ_i + ε/C · Σ w_j ℓ_j
//
// A class that occurs twice has the sum of both probabilities.

@group(0) @binding(7) var<storage, read> entry_classes: array<u32>; // (rows, entries)
@group(0) @binding(8) var<storage, read> entry_probs: array<u32>;   // f32 bits, (rows, entries)

// The weights to sum over the row, for smoothing: those of the classes.
fn target_weights(span: RowSpan, col: u32) -> vec4<u32> {
    return swept_class_weights(col);
}

fn swept_share() -> f32 {
    return params.smoothing / f32(params.cols);
}

fn class_of(input: RowInput) -> u32 {
    return NO_CLASS;
}

// Where the entries of a row begin. Its input says which row's entries it uses.
fn first_entry(input: RowInput) -> u32 {
    return input.class_index * params.entries;
}

fn own_of(stats: RowStats, span: RowSpan) -> Own {
    return no_own();
}

fn target_part(stats: RowStats, others: f32, own: Own, span: RowSpan, input: RowInput) -> TargetPart {
    var part = no_part();
    let first = first_entry(input);
    for (var i = first; i < first + params.entries; i++) {
        let col = entry_classes[i];
        if col == params.ignore_index { continue; }
        let q = entry_probs[i];
        if !is_finite(q) { part.flags |= INVALID_TARGET; }
        if !is_weight(class_weight_bits(col)) { part.flags |= INVALID_WEIGHT; }
        let weight = (1.0 - params.smoothing) * class_weight(col) * bitcast<f32>(q);
        if weight == 0.0 { continue; }
        let bits = score(span, col);
        part.mass += weight;
        if bits == NEG_INFINITY {
            part.marks |= select(MASS_AT_NEG_INFINITY, MINUS_MASS_AT_NEG_INFINITY, weight < 0.0);
        } else {
            part.loss += surprise(stats, bits, weight, input.weight);
        }
    }
    return part;
}
