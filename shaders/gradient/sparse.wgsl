// Uses: params, seat, row_span, score, target, class_weights, row_input, row_result, output, sweep_output, the pass

// The part of sparse targets in the gradient. The sweep writes every value as if its class had no target; then the
// values of classes with a target are written again. Their logits are saved before the sweep, which overwrites them if
// it is in place.
//
// The unit of writing is an output word. With 16-bit output that is two columns, and both may have entries. All entries of
// one word write the same value.

const MAX_ENTRIES: u32 = 512u; // the Rust side's MAX_SPARSE_ENTRIES

var<workgroup> saved_scores: array<vec2<u32>, MAX_ENTRIES>;

fn target_pull(part: TargetPart) -> f32 {
    return 1.0 - params.smoothing;
}

fn target_gradient(record: Record, span: RowSpan, col: u32) -> vec4<f32> {
    return times_class_weights(vec4(record.beta), col);
}

// The sweep has it all.
fn gradient_at_target(value: f32, record: Record, span: RowSpan) -> f32 {
    return 0.0;
}

fn finished_pack(pair: QuadPair, span: RowSpan, pack: u32, record: Record) -> QuadPair {
    return pair;
}

// The first column of an output word.
fn word_col(col: u32) -> u32 {
    return col - col % OUTPUT_PER_WORD;
}

fn save_entries(span: RowSpan, seat: Seat, input: RowInput, writes: bool) {
    if writes {
        let first = first_entry(input);
        for (var i = seat.lane; i < params.entries; i += LANES) {
            let class_index = entry_classes[first + i];
            if class_index == params.ignore_index { continue; }
            let col = word_col(class_index);
            saved_scores[i] = vec2(score(span, col), score(span, min(col + 1u, params.cols - 1u)));
        }
    }
    workgroupBarrier();
}

fn entry_gradient(bits: u32, col: u32, record: Record) -> u32 {
    let first = first_entry(record.input);
    // An ignored class may share its word with one that counts.
    let is_counted = col != params.ignore_index;
    var q = 0.0;
    for (var i = first; i < first + params.entries; i++) {
        q += select(0.0, bitcast<f32>(entry_probs[i]), is_counted & (entry_classes[i] == col));
    }
    let pulled = times_class_weights(vec4(record.beta + record.tau * q), col);
    return bitcast<u32>(gradient_at(vec4(bits), pulled, record).x);
}

fn rewrite_entries(span: RowSpan, seat: Seat, record: Record, writes: bool) {
    storageBarrier();
    if !writes { return; }
    let out = output_span(span);
    let first = first_entry(record.input);
    for (var i = seat.lane; i < params.entries; i += LANES) {
        let class_index = entry_classes[first + i];
        if class_index == params.ignore_index { continue; }
        let col = word_col(class_index);
        let value = entry_gradient(saved_scores[i].x, col, record);
        var second = 0u;
        if OUTPUT_PER_WORD == 2u && col + 1u < params.cols {
            second = entry_gradient(saved_scores[i].y, col + 1u, record);
        }
        store_word(out, col, value, second);
    }
}
