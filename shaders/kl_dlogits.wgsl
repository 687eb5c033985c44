// Uses: params, seat, row_span, row_input, load_row_input, row_results, batch_weight, kl_result, pair_stats, seconds, sweep_output, wide_product

// KL(teacher ‖ student) and its gradient with respect to the student's logits, from a second read of both:
//
//     dx_j = u/T · (p_j − q_j),     u = upstream · row weight / denominator, times T² if asked for

struct Record {
    student_base: f32,
    teacher_base: f32,
    student_inverse: f32, // 1 / Σ exp
    teacher_inverse: f32,
    scale: f32,
    fill: bool, // fill the row with these bits, instead of a gradient
    bits: u32,
}

fn row_record(stats: PairStats, input: RowInput) -> Record {
    var record = Record(stats.student.base, stats.teacher.base, 0.0, 0.0, 0.0, true, 0u);
    let denominator = batch_denominator();
    if is_skipped(input) || denominator == 0.0 {
        return record;
    }
    let flags = pair_flags(stats);
    record.bits = special_bits(flags);
    if flags != 0u {
        return record;
    }
    record.scale = wide_product(vec4(bitcast<f32>(input.upstream), 1.0 / denominator, slope_scale(), 1.0));
    record.student_inverse = 1.0 / stats.student.sum;
    record.teacher_inverse = 1.0 / stats.teacher.sum;
    record.fill = !is_finite(input.upstream) || !is_finite(bitcast<u32>(record.scale));
    return record;
}

fn may_be_nan(record: Record) -> bool {
    return false;
}

fn probabilities(bits: vec4<u32>, base: f32, inverse: f32) -> vec4<f32> {
    let r = roots(bits, quarters_below(bits, base));
    return r * r * inverse;
}

// The student's probabilities. The teacher's come with the whole pack.
fn output_quad(scores: vec4<u32>, span: RowSpan, col: u32, record: Record) -> vec4<u32> {
    return bitcast<vec4<u32>>(probabilities(scores, record.student_base, record.student_inverse));
}

fn less_teacher(student: vec4<u32>, teacher: vec4<u32>, record: Record) -> vec4<u32> {
    let q = probabilities(teacher, record.teacher_base, record.teacher_inverse);
    return bitcast<vec4<u32>>(record.scale * (bitcast<vec4<f32>>(student) - q));
}

fn finished_pack(pair: QuadPair, span: RowSpan, pack: u32, record: Record) -> QuadPair {
    let teacher = second_pack(span, pack);
    var own = QuadPair(less_teacher(pair.a, teacher.a, record), vec4(0u));
    if PACKED {
        own.b = less_teacher(pair.b, teacher.b, record);
    }
    return own;
}

@compute @workgroup_size(INVOCATIONS)
fn kl_dlogits(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let input = load_row_input(at);
    let reads = !is_skipped(input);
    let span = row_span(at);
    let stats = pair_stats(span, at, reads);
    if !at.taken { return; }
    if at.lane == 0u {
        if reads {
            store_read_row(at, stats, input);
        } else {
            store_skipped_row(at, input);
        }
    }
    let record = row_record(stats, input);
    if record.fill {
        fill_output(span, at.lane, record.bits);
    } else {
        sweep_output(span, at.lane, record);
    }
}
