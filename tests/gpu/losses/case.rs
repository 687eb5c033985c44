//! A case: a batch of two arrays, what else the loss takes, and the options.

use xent::{Element, LossOp, RowInputs, Shape};

use crate::harness::gpu;
use crate::losses::Loss;

/// A row of both arrays, and what it is there for.
pub type Row = (String, Vec<f32>, Vec<f32>);

/// A batch with the options of its loss.
#[derive(Clone)]
pub struct Case<L: Loss, E: Element> {
    pub name: String,
    pub shape: Shape,
    /// What each row is there for; may be empty.
    pub labels: Vec<String>,
    pub logits: Vec<E>,
    /// The second array, laid out as the logits are.
    pub second: Vec<L::Second<E>>,
    pub given: Given,
    pub options: L,
}

/// What a loss takes besides its two arrays. Only multi-label cross-entropy takes weights of classes.
#[derive(Clone, Debug, Default)]
pub struct Given {
    pub pos_weight: Option<Vec<f32>>,
    pub class_weights: Option<Vec<f32>>,
    pub row_weights: Option<Vec<f32>>,
    pub row_mask: Option<Vec<bool>>,
    /// 1 if it is left out.
    pub upstream: Option<f32>,
    pub row_upstream: Option<Vec<f32>>,
}

impl Given {
    pub fn row_weights(weights: &[f32]) -> Self {
        Self { row_weights: Some(weights.to_vec()), ..Self::default() }
    }

    pub fn row_mask(mask: &[bool]) -> Self {
        Self { row_mask: Some(mask.to_vec()), ..Self::default() }
    }

    pub fn rows(&self) -> RowInputs<'_> {
        RowInputs {
            row_weights: self.row_weights.as_deref(),
            row_mask: self.row_mask.as_deref(),
            upstream: self.upstream.unwrap_or(1.0),
            row_upstream: self.row_upstream.as_deref(),
        }
    }

    /// A row's weight; 0 if it is masked.
    pub fn weight(&self, row: usize) -> f32 {
        let is_masked = self.row_mask.as_ref().is_some_and(|mask| !mask[row]);
        if is_masked { 0.0 } else { self.row_weights.as_ref().map_or(1.0, |weights| weights[row]) }
    }

    /// The upstream gradient of a row's loss: that of the batch times its own.
    pub fn gradient(&self, row: usize) -> f64 {
        let of_row = self.row_upstream.as_ref().map_or(1.0, |upstream| f64::from(upstream[row]));
        f64::from(self.upstream.unwrap_or(1.0)) * of_row
    }
}

impl<L: Loss, E: Element> Case<L, E> {
    /// Rows laid out by a shape, with NaN between them.
    pub fn new(name: &str, shape: Shape, rows: &[Row], options: L) -> Self {
        let mut logits = vec![E::from_f32(f32::NAN); shape.len()];
        let mut second = vec![L::second::<E>(f32::NAN); shape.len()];
        for (row, (_, x, y)) in rows.iter().enumerate() {
            for (col, (&x, &y)) in x.iter().zip(y).enumerate() {
                let at = shape.row_start(row) + col * shape.inner;
                (logits[at], second[at]) = (E::from_f32(x), L::second::<E>(y));
            }
        }
        let labels = rows.iter().map(|(label, ..)| label.clone()).collect();
        Self { name: name.to_owned(), shape, labels, logits, second, given: Given::default(), options }
    }

    /// Rows one behind the other.
    pub fn dense(name: &str, rows: &[Row], options: L) -> Self {
        Self::new(name, Shape::new(rows.len(), rows[0].1.len()), rows, options)
    }

    pub fn with(self, given: Given) -> Self {
        Self { given, ..self }
    }

    pub fn with_options(self, options: L) -> Self {
        Self { options, ..self }
    }

    /// Its first rows, which are a whole number of groups. Only for cases without inputs of rows.
    pub fn first_rows(&self, rows: usize) -> Self {
        let shape = self.shape.with_rows(rows);
        let mut case = Self { shape, ..self.clone() };
        case.logits.truncate(shape.len());
        case.second.truncate(shape.len());
        case.labels.truncate(rows);
        case
    }

    pub fn inputs(&self) -> L::Inputs<'_, E> {
        L::inputs(&self.second, &self.given)
    }

    /// The operation on the shared device.
    pub fn op(&self) -> LossOp<E, L> {
        self.options.op(gpu())
    }

    pub fn row_logits(&self, row: usize) -> Vec<E> {
        self.shape.row(&self.logits, row).copied().collect()
    }

    pub fn row_second(&self, row: usize) -> Vec<L::Second<E>> {
        self.shape.row(&self.second, row).copied().collect()
    }

    pub fn label(&self, row: usize) -> &str {
        self.labels.get(row).map_or("", String::as_str)
    }
}
