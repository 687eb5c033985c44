// Uses: params, seat, row_span

// Scores that are the logits themselves.

// Nothing to prepare: logits do not depend on their row.
fn begin_row(seat: Seat) {}

// The column that has the logit of a row's class, NO_CLASS if it is in another shard.
fn column_of(class_index: u32) -> u32 {
    let col = class_index - params.first_col;
    return select(NO_CLASS, col, col < params.cols);
}

// Scores as bits, −∞ if a class is impossible, before the cap. Special values are judged on these bits.
fn score(span: RowSpan, col: u32) -> u32 {
    return raw_logit(span, col);
}

// The scores of a pack of logits whose first column is `col`.
fn scores_of(logits: QuadPair, col: u32) -> QuadPair {
    return logits;
}

// Whether the logits from a column on need not be read.
fn is_hidden(col: u32) -> bool {
    return false;
}
