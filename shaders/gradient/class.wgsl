// Uses: seat, pack, row_span, score, cap, row_stats, class_weights, row_input, row_result, the pass

// The part of class targets in the gradient.

fn target_pull(part: TargetPart) -> f32 {
    return part.mass;
}

// What the target pulls at every class. Without smoothing, β is 0.
fn target_gradient(record: Record, span: RowSpan, col: u32) -> vec4<f32> {
    if TARGET_SUMS {
        return times_class_weights(vec4(record.beta), col);
    }
    return vec4(0.0);
}

// What it pulls at its own class beside that.
fn class_pull(record: Record, span: RowSpan) -> f32 {
    if SOFTCAP {
        let s = capped(bitcast<vec4<f32>>(vec4(score(span, record.input.class_index))));
        return record.tau * cap_slopes(s).x;
    }
    return record.tau;
}

// A pack rarely has the target's class, so there is one test for all its columns.
fn with_target(pair: QuadPair, span: RowSpan, pack: u32, record: Record) -> QuadPair {
    var own = pair;
    let at = record.input.class_index + span.shift;
    if at / PACK_VALUES == pack {
        let pulled = four_cols(0u) == vec4(at % 4u);
        let is_second = PACKED && at % PACK_VALUES >= 4u;
        own.a = select(pair.a, less(pair.a, record.pull), pulled & vec4(!is_second));
        own.b = select(pair.b, less(pair.b, record.pull), pulled & vec4(is_second));
    }
    return own;
}

fn less(gradient: vec4<u32>, pull: f32) -> vec4<u32> {
    return bitcast<vec4<u32>>(bitcast<vec4<f32>>(gradient) - vec4(pull));
}

fn save_entries(span: RowSpan, seat: Seat, input: RowInput, writes: bool) {}

fn rewrite_entries(span: RowSpan, seat: Seat, record: Record, writes: bool) {}
