// Uses: params, seat, pack, row_span, score, cap, row_stats, class_weights, row_input, row_result, the pass

// The part of class targets in the gradient.

fn target_pull(part: TargetPart) -> f32 {
    return part.mass;
}

// What the target pulls at every class. Without smoothing, β is 0.
fn target_gradient(record: Record, span: RowSpan, col: u32) -> vec4<f32> {
    if TARGET_SUMS {
        return times_class_weights(vec4(record.beta), col + params.first_col);
    }
    return vec4(0.0);
}

// The gradient at the target's class, from that without β and the cap. If another shard has the class, the value is not used.
fn gradient_at_target(value: f32, record: Record, span: RowSpan) -> f32 {
    var all = value;
    if TARGET_SUMS {
        all -= times_class_weights(vec4(record.beta), record.input.class_index).x;
    }
    if SOFTCAP {
        let s = capped(bitcast<vec4<f32>>(vec4(score(span, min(record.target_col, params.cols - 1u)))));
        all *= cap_slopes(s).x;
    }
    return all;
}

// A pack rarely has the target's class, so there is one test for all its columns.
fn finished_pack(pair: QuadPair, span: RowSpan, pack: u32, record: Record) -> QuadPair {
    var own = pair;
    let at = record.target_col + span.shift;
    if at / PACK_VALUES == pack {
        let is_target = four_cols(0u) == vec4(at % 4u);
        let is_second = PACKED && at % PACK_VALUES >= 4u;
        let value = vec4(bitcast<u32>(record.at_target));
        own.a = select(pair.a, value, is_target & vec4(!is_second));
        own.b = select(pair.b, value, is_target & vec4(is_second));
    }
    return own;
}

fn save_entries(span: RowSpan, seat: Seat, input: RowInput, writes: bool) {}

fn rewrite_entries(span: RowSpan, seat: Seat, record: Record, writes: bool) {}
