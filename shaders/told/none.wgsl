// Uses: seat, row_stats

// No readouts are stored.

fn store_swept_readouts(seat: Seat, stats: RowStats, inverse: f32, own: vec2<f32>) {}
