//! The class of the largest logit.

use crate::element::Element;
use crate::error::Result;
use crate::shape::Shape;

/// The class of the largest logit in each row of (rows, cols) logits, (rows,). Edge cases: see
/// [`argmax_row`].
///
/// # Errors
/// Those of [`Shape::check`], and [`Error::Length`](crate::Error::Length) if the length of `logits` does not match
/// `shape`.
pub fn argmax<E: Element>(logits: &[E], shape: Shape) -> Result<Vec<u32>> {
    shape.check_slice("logits", logits)?;
    Ok((0..shape.rows).map(|row| argmax_row(&shape.row_vec(logits, row))).collect())
}

/// The [`argmax`](fn@argmax) of one row (cols,).
///
/// The lowest class wins a tie. −0 equals +0 and −∞ equals −∞, so a row of −∞ gives 0. A NaN counts as the largest
/// value, and the first NaN wins, as in `torch.argmax`.
pub fn argmax_row<E: Element>(row: &[E]) -> u32 {
    let mut best = 0;
    for (class, x) in row.iter().enumerate() {
        let (x, largest) = (x.to_f64(), row[best].to_f64());
        if x > largest || (x.is_nan() && !largest.is_nan()) {
            best = class;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    const INF: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;

    #[test]
    fn edge_cases() {
        let cases: &[(&str, &[f32], u32)] = &[
            ("first", &[3.0, 1.0, 0.2], 0),
            ("middle", &[0.1, 3.0, 0.2], 1),
            ("last", &[0.5, 0.5, 4.0], 2),
            ("one class", &[-3.0], 0),
            ("tie", &[1.0, 2.0, 2.0], 1),
            ("all equal", &[1.0; 4], 0),
            ("−0 before +0", &[-0.0, 0.0], 0),
            ("+0 before −0", &[0.0, -0.0], 0),
            ("all −∞", &[-INF, -INF], 0),
            ("one finite among −∞", &[-INF, f32::MIN, -INF], 1),
            ("+∞", &[f32::MAX, INF, INF], 1),
            ("NaN above +∞", &[INF, NAN], 1),
            ("first NaN of two", &[1.0, NAN, INF, -NAN], 1),
            ("NaN first", &[NAN, 1.0], 0),
            ("NaN among −∞", &[-INF, -INF, NAN], 2),
        ];
        for &(name, row, expected) in cases {
            assert_eq!(argmax_row(row), expected, "{name}");
        }
    }

    #[test]
    fn batches() {
        let shape = Shape::new(2, 2).row_stride(3);
        assert_eq!(argmax(&[0.0, 1.0, 9.0, 5.0, 2.0], shape), Ok(vec![1, 0]), "padding is not read");
        let side_by_side = Shape::nchw(2, 2, 3).row_stride(7);
        let logits = [0.0, 2.0, 1.0, 1.0, 0.0, 1.0, NAN, 9.0, -INF, 5.0, 8.0, 0.0, NAN];
        assert_eq!(argmax(&logits, side_by_side), Ok(vec![1, 0, 0, 0, 1, 1]));
        assert_eq!(argmax::<f32>(&[], Shape::new(0, 3)), Ok(vec![]));
        let short = Err(Error::Length { what: "logits", found: 4, needed: 5 });
        assert_eq!(argmax(&[0.0f32; 4], shape), short);
    }
}
