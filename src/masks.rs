//! The masks of a masked softmax: which rows may attend to which classes.

use crate::error::{Error, Result};
use crate::shape::Shape;

/// How the rows of a mask (mask rows, cols) apply to the rows of a batch: row r uses the mask's row
/// `(r / repeat) % rows`.
///
/// With rows = batch · heads · queries, as in attention:
///
/// ```
/// use xent::MaskRows;
///
/// let (batch, heads, q_len) = (2, 8, 128);
/// let of_all_heads = MaskRows::each(q_len); // (queries, cols), the same for every head
/// let of_each_row = MaskRows::each(batch * heads * q_len);
/// let padding = MaskRows::each(1); // (1, cols), the same for every row
/// let padding_of_each_sequence = MaskRows::repeated(batch, heads * q_len); // (batch, cols)
/// ```
///
/// More fields may come: end a literal with `..MaskRows::each(rows)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaskRows {
    /// Rows of the mask, at least 1. After the last one, the mask starts again from its first row.
    pub rows: usize,
    /// How many consecutive rows of the batch use the same row of the mask. At least 1. The batch's rows must be a
    /// multiple of `rows · repeat`.
    pub repeat: usize,
}

impl MaskRows {
    /// One mask row for each row of the batch; after `rows` rows the mask starts again.
    pub const fn each(rows: usize) -> Self {
        Self { rows, repeat: 1 }
    }

    /// Uses each of the mask's `rows` rows for `repeat` consecutive rows of the batch.
    pub const fn repeated(rows: usize, repeat: usize) -> Self {
        Self { rows, repeat }
    }

    /// The row of the mask for a row of the batch.
    pub const fn of(&self, row: usize) -> usize {
        row / (if self.repeat == 0 { 1 } else { self.repeat }) % (if self.rows == 0 { 1 } else { self.rows })
    }

    /// Refuses a mask unless the batch's rows are a multiple of its rows · repeat.
    pub(crate) fn check(&self, what: &'static str, rows: usize) -> Result<()> {
        let &Self { rows: mask_rows, repeat } = self;
        match mask_rows.checked_mul(repeat) {
            Some(period) if period > 0 && rows.is_multiple_of(period) => Ok(()),
            _ => Err(Error::MaskRows { what, rows, mask_rows, repeat }),
        }
    }
}

/// The masks of a [`MaskedSoftmax`](crate::MaskedSoftmax). Each is optional; a class must pass all of them.
///
/// ```
/// use xent::{MaskRows, Masks};
///
/// let bias = [0.0, -1.5, -3.0, 0.0];
/// let is_word = [true, true, true, false];
/// let masks = Masks::NONE.additive(&bias, MaskRows::each(1)).boolean(&is_word, MaskRows::each(1));
/// ```
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Masks<'a> {
    /// Added to the scaled logits: (mask rows, cols). −∞ for classes that a row may not attend to.
    pub additive: Option<(&'a [f32], MaskRows)>,
    /// Which classes a row may attend to: (mask rows, cols).
    pub boolean: Option<(&'a [bool], MaskRows)>,
}

impl<'a> Masks<'a> {
    /// No masks.
    pub const NONE: Masks<'static> = Masks { additive: None, boolean: None };

    /// Adds a mask (mask rows, cols) to the scaled logits.
    pub const fn additive(self, mask: &'a [f32], rows: MaskRows) -> Self {
        Self { additive: Some((mask, rows)), ..self }
    }

    /// Restricts rows to the classes that a mask (mask rows, cols) allows.
    pub const fn boolean(self, mask: &'a [bool], rows: MaskRows) -> Self {
        Self { boolean: Some((mask, rows)), ..self }
    }

    /// Refuses masks that do not fit a shape.
    pub(crate) fn check(&self, shape: Shape) -> Result<()> {
        let of = |what, found: usize, rows: MaskRows| {
            rows.check(what, shape.rows)?;
            let needed = rows.rows.saturating_mul(shape.cols);
            if found == needed { Ok(()) } else { Err(Error::Length { what, found, needed }) }
        };
        self.additive.map_or(Ok(()), |(mask, rows)| of("masks: additive", mask.len(), rows))?;
        self.boolean.map_or(Ok(()), |(mask, rows)| of("masks: boolean", mask.len(), rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_mask() {
        let of = |rows: MaskRows| (0..8).map(|row| rows.of(row)).collect::<Vec<_>>();
        assert_eq!(of(MaskRows::each(8)), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(of(MaskRows::each(4)), [0, 1, 2, 3, 0, 1, 2, 3]);
        assert_eq!(of(MaskRows::each(1)), [0; 8]);
        assert_eq!(of(MaskRows::repeated(2, 4)), [0, 0, 0, 0, 1, 1, 1, 1]);
        assert_eq!(of(MaskRows::repeated(2, 2)), [0, 0, 1, 1, 0, 0, 1, 1]);
    }

    #[test]
    fn refusals() {
        let shape = Shape::new(6, 2);
        let (mask, flags) = ([0.0; 6], [true; 6]);
        assert_eq!(Masks::NONE.check(shape), Ok(()));
        assert_eq!(Masks::NONE.additive(&mask, MaskRows::repeated(3, 2)).check(shape), Ok(()));
        for rows in [
            MaskRows::each(4),
            MaskRows::each(0),
            MaskRows::repeated(3, 0),
            MaskRows::repeated(3, 4),
            MaskRows::repeated(usize::MAX, 2),
        ] {
            let MaskRows { rows: mask_rows, repeat } = rows;
            let refused = |what| Err(Error::MaskRows { what, rows: 6, mask_rows, repeat });
            assert_eq!(Masks::NONE.additive(&mask, rows).check(shape), refused("masks: additive"));
            assert_eq!(Masks::NONE.boolean(&flags, rows).check(shape), refused("masks: boolean"));
        }
        let length = |what| Err(Error::Length { what, found: 6, needed: 4 });
        let two = MaskRows::each(2);
        assert_eq!(Masks::NONE.additive(&mask, two).check(shape), length("masks: additive"));
        assert_eq!(Masks::NONE.boolean(&flags, two).check(shape), length("masks: boolean"));
    }
}
