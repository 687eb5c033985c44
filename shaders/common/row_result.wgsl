// What a loss says of a row, from its stats: {loss, lse, argmax, flags}, as bits.

@group(0) @binding(4) var<storage, read> row_inputs: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> row_results: array<vec4<u32>>;

struct RowResult {
    loss: u32,
    lse: u32,
    argmax: u32,
    flags: u32,
}

fn store_row_result(row: u32, result: RowResult) {
    row_results[row] = vec4(result.loss, result.lse, result.argmax, result.flags);
}

fn skipped_row_result(input: RowInput) -> RowResult {
    if (input.flags & TARGET_OUT_OF_RANGE) != 0u {
        return RowResult(NAN, NAN, NO_CLASS, TARGET_OUT_OF_RANGE | NAN_LOSS);
    }
    return RowResult(0u, 0u, NO_CLASS, 0u);
}

fn row_result(stats: RowStats, span: RowSpan, input: RowInput) -> RowResult {
    let loss = loss_bits(stats, span, input);
    var flags = stats_flags(stats);
    if loss == INFINITY {
        flags |= INFINITE_LOSS;
    }
    if (loss & MAGNITUDE) > INFINITY {
        flags |= NAN_LOSS;
    }
    return RowResult(loss, logsumexp_bits(stats), stats.position, flags);
}

fn loss_bits(stats: RowStats, span: RowSpan, input: RowInput) -> u32 {
    let flags = stats_flags(stats);
    if flags == 0u {
        return target_loss_bits(stats, span, input);
    }
    return special_bits(flags, 0u);
}
