//! The options of the softmax operations, forward and backward.

use crate::error::{Error, Result};
use crate::masks::MaskRows;
use crate::options::{MaskedRow, check_scale, check_softcap, check_temperature};
use crate::shape::Shape;

/// Options of [`Softmax`](crate::Softmax).
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftmaxOptions {
    /// The result of rows in which every logit is −∞. Default: [`MaskedRow::Nan`].
    pub masked_row: MaskedRow,
    /// T: the softmax is that of logits / T; above 1 it is flatter, below 1 sharper. From 2^-100 (7.9e-31) to 2^126
    /// (8.5e37). Default: 1.
    pub temperature: f32,
    /// κ: logits are first capped to κ·tanh(x / κ), before the temperature, as in Gemma 2. From 2^-126 (1.2e-38) to
    /// 2^126 (8.5e37), and at most 2^100 times the temperature. Default: no cap.
    pub softcap: Option<f32>,
}

impl Default for SoftmaxOptions {
    fn default() -> Self {
        Self { masked_row: MaskedRow::Nan, temperature: 1.0, softcap: None }
    }
}

impl SoftmaxOptions {
    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        check_temperature(self.temperature)?;
        check_softcap(self.softcap, self.temperature)
    }
}

/// Options of [`MaskedSoftmax`](crate::MaskedSoftmax). Masks are data: see [`Masks`](crate::Masks).
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskedSoftmaxOptions {
    /// The factor that multiplies the logits before the masks apply: attention's 1/√d, where d is the number of values
    /// of a query (Vaswani et al. 2017). From 2^-126 (1.2e-38) to 2^100 (1.3e30). A negative factor is allowed: it
    /// reverses the order of the classes and the sign of infinite logits. Default: 1.
    pub scale: f32,
    /// Restricts each query to the keys up to its own position. Default: no restriction.
    pub causal: Option<Causal>,
    /// The result of rows that may attend to no key. Default: [`MaskedRow::Nan`], as in PyTorch's softmax; some
    /// attention libraries give zeros.
    pub masked_row: MaskedRow,
}

impl Default for MaskedSoftmaxOptions {
    fn default() -> Self {
        Self { scale: 1.0, causal: None, masked_row: MaskedRow::Nan }
    }
}

impl MaskedSoftmaxOptions {
    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        check_scale(self.scale)?;
        match self.causal {
            Some(Causal { q_len: 0, .. }) => Err(Error::option("causal: q_len", 0, "at least 1")),
            _ => Ok(()),
        }
    }

    /// Like [`check`](Self::check), and checks that the shape's rows are a multiple of the queries.
    pub(crate) fn check_shape(&self, shape: Shape) -> Result<()> {
        self.check()?;
        if shape.inner != 1 {
            return Err(Error::ClassAxisNotLast { inner: shape.inner });
        }
        self.causal
            .map_or(Ok(()), |Causal { q_len, .. }| MaskRows::each(q_len).check("causal: q_len", shape.rows))
    }
}

/// Causal attention: row r is the query at position t = r mod `q_len` of its sequence and attends to key j where
/// `j ≤ t + offset`. A row for which no key is left counts as fully masked.
///
/// More fields may come: end a literal with `..Causal::lower_right(q_len)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Causal {
    /// Queries per sequence, at least 1. The shape's rows must be a multiple of it.
    pub q_len: usize,
    /// The last key that the first query attends to. Default: keys − `q_len`, so that the last query attends to all
    /// keys (see [`lower_right`](Self::lower_right)).
    pub offset: Option<i64>,
}

impl Causal {
    /// The last query attends to all keys: the triangle ends in the lower right corner, as with a cache of earlier
    /// keys. PyTorch's `causal_lower_right`, and FlashAttention's `causal` since 2.1.
    pub const fn lower_right(q_len: usize) -> Self {
        Self { q_len, offset: None }
    }

    /// The first query attends to the first key only: the triangle begins in the upper left corner. PyTorch's
    /// `causal_upper_left`, and its `is_causal`.
    pub const fn upper_left(q_len: usize) -> Self {
        Self::at(q_len, 0)
    }

    /// The first query attends to the keys up to and including `offset`. If `offset` is negative, the first −`offset`
    /// queries attend to no key.
    pub const fn at(q_len: usize, offset: i64) -> Self {
        Self { q_len, offset: Some(offset) }
    }

    /// The offset for `cols` keys.
    pub(crate) fn offset_of(&self, cols: usize) -> i128 {
        self.offset.map_or(cols as i128 - self.q_len as i128, i128::from)
    }

    /// Whether a row attends to class `col` of `cols`.
    pub fn attends(&self, row: usize, col: usize, cols: usize) -> bool {
        let position = (row % self.q_len.max(1)) as i128;
        col as i128 <= position + self.offset_of(cols)
    }
}

/// Options of [`SoftmaxBackward`](crate::SoftmaxBackward).
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftmaxBackwardOptions {
    /// Whether to differentiate a log-softmax, given by its log-probabilities. Default: a softmax, given by its
    /// probabilities.
    pub log: bool,
    /// The factor that multiplied the logits: 1/temperature, or the scale of a [`MaskedSoftmax`](crate::MaskedSoftmax).
    /// Between 2^-126 (1.2e-38) and 2^100 (1.3e30) in magnitude; either sign is allowed. Default: 1.
    pub scale: f32,
}

impl Default for SoftmaxBackwardOptions {
    fn default() -> Self {
        Self { log: false, scale: 1.0 }
    }
}

impl SoftmaxBackwardOptions {
    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        check_scale(self.scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_queries_of_any_number() {
        for (causal, row, col, cols, attends) in [
            (Causal::lower_right(2), 0, 3, 5, true),
            (Causal::lower_right(2), 0, 4, 5, false),
            (Causal::lower_right(1 << 63), 5, 0, 0, false),
            (Causal::lower_right(usize::MAX), usize::MAX - 1, 6, 7, true),
            (Causal::lower_right(usize::MAX), usize::MAX - 1, 7, 7, false),
            (Causal::lower_right(1), 0, usize::MAX - 1, usize::MAX, true),
            (Causal::at(3, i64::MAX), 2, usize::MAX, usize::MAX, false),
            (Causal::at(3, i64::MIN), 2, 0, 4, false),
            (Causal::at(0, 0), 2, 0, 4, true),
        ] {
            assert_eq!(causal.attends(row, col, cols), attends, "{causal:?}, {row}, {col}, {cols}");
        }
    }
}
