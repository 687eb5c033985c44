//! What the columns of a vocabulary shard tell of each row.

use crate::element::Element;
use crate::inputs::CrossEntropyInputs;
use crate::op::{CrossEntropy, Kind};
use crate::options::{CrossEntropyOptions, EmptyBatch, Reduction, VocabularyShard};
use crate::request::Request;
use crate::results::RowPartials;
use crate::row_fields::RowFields;
use crate::shape::Shape;

impl<E: Element> CrossEntropy<E> {
    /// What the logits (rows, cols) of a [`shard`](CrossEntropyOptions::shard) tell of each row (rows,), in one read of them. Those of
    /// all shards [`combine`](RowPartials::combine) to what the loss and the gradient need: see [`VocabularyShard`]. A row that is
    /// left out, and every row of a shard without columns, has [`RowPartials::NONE`]. Without a shard, the logits are whole rows.
    ///
    /// Here two shards on one device stand for two devices; each holds two columns of two rows of four classes:
    ///
    /// ```no_run
    /// use xent::{Context, CrossEntropy, CrossEntropyInputs, CrossEntropyOptions, Shape, VocabularyShard};
    ///
    /// let gpu = Context::new().wait()?;
    /// let options = CrossEntropyOptions { label_smoothing: 0.1, ..Default::default() };
    /// let of = |first_col| CrossEntropyOptions { shard: Some(VocabularyShard::new(first_col, 4)), ..options };
    /// let (left, right) = (CrossEntropy::<f32>::new(&gpu, &of(0))?, CrossEntropy::<f32>::new(&gpu, &of(2))?);
    /// let (left_logits, right_logits) = ([2.0, 1.0, 0.5, 0.1], [0.5, -1.0, 3.0, 0.2]);
    /// let (classes, shape) = ([0, 2], Shape::new(2, 2));
    ///
    /// // Each device reads its columns, all gather the partials, and each folds them in the same order.
    /// let parts = [
    ///     left.partials(&left_logits, &classes, shape).wait()?,
    ///     right.partials(&right_logits, &classes, shape).wait()?,
    /// ];
    /// let merged: Vec<_> = parts[0].iter().zip(&parts[1]).map(|(a, b)| a.combine(b, options.temperature)).collect();
    ///
    /// // The loss of the whole rows, and the gradient of the device's columns.
    /// let inputs = CrossEntropyInputs::from(&classes).partials(&merged);
    /// let (loss, left_dlogits) = left.loss_and_dlogits(&left_logits, inputs, shape).wait()?;
    /// let (same, right_dlogits) = right.loss_and_dlogits(&right_logits, inputs, shape).wait()?;
    ///
    /// let whole = CrossEntropy::<f32>::new(&gpu, &options)?;
    /// let logits = [2.0, 1.0, 0.5, -1.0, 0.5, 0.1, 3.0, 0.2];
    /// let (expected, dlogits) = whole.loss_and_dlogits(&logits, &classes, Shape::new(2, 4)).wait()?;
    /// assert!((loss.value - expected.value).abs() < 1e-6 && same == loss);
    /// let together = [&left_dlogits[..2], &right_dlogits[..2], &left_dlogits[2..], &right_dlogits[2..]].concat();
    /// assert!(together.iter().zip(&dlogits).all(|(a, b)| (a - b).abs() < 1e-6));
    /// # Ok::<(), xent::Error>(())
    /// ```
    ///
    /// A bound operation gives the same as records of [`RowFields::PARTIALS`], if nothing else is asked for:
    /// [`RowPartials::of_record`].
    ///
    /// # Errors
    /// As for [`loss`](Self::loss), except [`Error::NoRowCounts`](crate::Error::NoRowCounts).
    pub fn partials<'a>(
        &'a self,
        logits: &'a [E],
        inputs: impl Into<CrossEntropyInputs<'a>>,
        shape: Shape,
    ) -> Request<'a, Vec<RowPartials>> {
        let inputs = CrossEntropyInputs { partials: None, ..inputs.into() };
        self.request(move |wait| async move {
            // Nothing is reduced, and the other parts of the loss follow from the partials.
            let options = CrossEntropyOptions {
                row_fields: RowFields::PARTIALS,
                reduction: Reduction::Sum,
                empty_batch: EmptyBatch::Nan,
                z_loss: 0.0,
                focal_gamma: 0.0,
                ..*self.options()
            };
            if let (Some(shard), 0) = (options.shard, shape.cols) {
                shard.check_cols(0)?;
                let of_rows = VocabularyShard::new(0, shard.total_cols);
                let options = CrossEntropyOptions { shard: Some(of_rows), ..options };
                inputs.check(Shape::new(shape.rows, shard.total_cols), &options)?;
                return Ok(vec![RowPartials::NONE; shape.rows]);
            }
            options.check_part(shape, false, false)?;
            let results = self.with_options(&options)?.of_parts(logits, inputs, shape, wait).await?;
            Ok(results.iter().map(RowPartials::from).collect())
        })
    }
}
