//! InfoNCE: the cross-entropy of a matrix of similarities by its rows and by its columns.

use crate::context::Context;
use crate::device::Wait;
use crate::element::Element;
use crate::error::Result;
use crate::kernel::Tuning;
use crate::op::bound::Bound;
use crate::op::cross_entropy::CrossEntropy;
use crate::op::info_nce_bound;
use crate::op::output::OutputBuffer;
use crate::options::{InfoNceOptions, check_similarities};
use crate::request::Request;
use crate::results::{InfoNceGradients, InfoNceLoss, log_scale_term};
use crate::shape::Shape;

/// InfoNCE, the contrastive loss among the pairs of a batch, as CLIP is trained with it (van den Oord, Li, Vinyals 2018,
/// arXiv:1807.03748; both ways: Radford et al. 2021, arXiv:2103.00020).
///
/// S (N, N) holds the similarity of each row's item with each column's item: images and texts, queries and documents. Row i and
/// column i are a pair. All other items of the batch are their negatives. The logits are S / T. The loss is the mean of two
/// [`CrossEntropy`] losses with targets on the diagonal: each row against the columns, and each column against the rows.
///
/// A model that learns the scale of its logits, e^s = 1 / T, gets dL/ds with the gradient: Σ dL/dS · S. Clamp s after a step
/// (CLIP keeps e^s at most 100), then take [`with_options`](Self::with_options): another temperature compiles nothing.
///
/// | case | result |
/// | --- | --- |
/// | N = 1 | loss 0, gradient 0 |
/// | a similarity of −∞: a pair that is no negative, such as an item that occurs twice | gradient 0 there; the rest is finite |
/// | a −∞ on the diagonal | loss +∞, a finite gradient of S, and +∞ for s |
/// | a NaN or a +∞ | its row and its column are NaN, and so is the loss; reported in the [`Flags`](crate::Flags) |
/// | a row or a column of only −∞ | NaN; reported in the flags |
///
/// It reads the matrix twice for a loss and four times with the gradient. The columns are read with the class axis first. That
/// needs the whole matrix in one binding of the device: N of at most 5,792 in f32 where a binding holds 128 MiB.
///
/// It takes host slices, or buffers of yours ([`bind`](Self::bind)). Its f64 twin is
/// [`reference::info_nce`](mod@crate::reference::info_nce).
///
/// ```no_run
/// use xent::{Context, InfoNce, InfoNceOptions, Shape};
///
/// let gpu = Context::new().wait()?;
/// let op = InfoNce::<f32>::new(&gpu, &InfoNceOptions::of_log_scale(0.0))?;
/// let (loss, gradients) = op.loss_and_gradients(&[0.9, 0.1, 0.2, 0.8], Shape::new(2, 2)).wait()?;
/// assert!((loss.value - 0.403740).abs() < 1e-5);
/// assert!((gradients.dlog_scale + 0.231291).abs() < 1e-5);
/// # Ok::<(), xent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct InfoNce<E: Element> {
    cross_entropy: CrossEntropy<E>,
    options: InfoNceOptions,
}

/// The buffers of a bound [`InfoNce`]: similarities (N, N), and at least one output.
///
/// More fields may come: end a literal with `..InfoNceBuffers::new(similarities)`.
#[derive(Clone, Debug)]
pub struct InfoNceBuffers<'a> {
    /// Similarities (N, N), dense and row by row, at an offset that is a multiple of a value's bytes.
    pub similarities: wgpu::BufferBinding<'a>,
    /// The gradient of the caller's objective with respect to the loss: one f32. It multiplies both gradients. Loss scaling can
    /// change it at every step without binding again.
    pub upstream: Option<wgpu::BufferBinding<'a>>,
    /// Destination of the loss: one [`InfoNceRecord`](crate::InfoNceRecord).
    pub loss: Option<wgpu::BufferBinding<'a>>,
    /// Destination of each row's loss against the columns: f32 (N,), in nats.
    pub row_losses: Option<wgpu::BufferBinding<'a>>,
    /// Destination of each column's loss against the rows: f32 (N,), in nats.
    pub column_losses: Option<wgpu::BufferBinding<'a>>,
    /// Destination of dL/dS (N, N).
    pub dsimilarities: Option<OutputBuffer<'a>>,
    /// Destination of dL/ds, with respect to the logarithm s of the scale 1 / T: one f32.
    pub dlog_scale: Option<wgpu::BufferBinding<'a>>,
}

impl<'a> InfoNceBuffers<'a> {
    /// Buffers with all that is required, without outputs.
    pub fn new(similarities: wgpu::BufferBinding<'a>) -> Self {
        Self {
            similarities,
            upstream: None,
            loss: None,
            row_losses: None,
            column_losses: None,
            dsimilarities: None,
            dlog_scale: None,
        }
    }
}

impl<E: Element> InfoNce<E> {
    /// Builds the operation on a context. Pipelines are made on first use. They are those of a [`CrossEntropy`].
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption), [`Error::DeviceLimit`](crate::Error::DeviceLimit).
    pub fn new(gpu: &Context, options: &InfoNceOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { cross_entropy: CrossEntropy::new(gpu, &options.cross_entropy())?, options: *options })
    }

    /// Returns a copy with another temperature that shares the pipelines.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption).
    pub fn with_options(&self, options: &InfoNceOptions) -> Result<Self> {
        options.check()?;
        let cross_entropy = self.cross_entropy.with_options(&options.cross_entropy())?;
        Ok(Self { cross_entropy, options: *options })
    }

    /// Uses this tuning instead of the one that the plan would choose.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption) for a tuning that the device cannot run.
    pub fn with_tuning(self, tuning: Tuning) -> Result<Self> {
        Ok(Self { cross_entropy: self.cross_entropy.with_tuning(tuning)?, ..self })
    }

    /// The options of this operation.
    pub fn options(&self) -> &InfoNceOptions {
        &self.options
    }

    /// The loss of similarities (N, N), dense and row by row, in nats.
    ///
    /// # Errors
    /// [`Error::NotSquare`](crate::Error::NotSquare), [`Error::ClassAxisNotLast`](crate::Error::ClassAxisNotLast),
    /// [`Error::Length`](crate::Error::Length) and what [`Shape::check`] refuses, before any work;
    /// [`Error::GroupTooLarge`](crate::Error::GroupTooLarge); whatever the device reports.
    pub fn loss<'a>(&'a self, similarities: &'a [E], shape: Shape) -> Request<'a, InfoNceLoss> {
        self.cross_entropy.request(move |wait| async move {
            check_similarities(similarities, shape)?;
            let targets: Vec<usize> = (0..shape.rows).collect();
            let [rows, columns] = ways(shape).map(|way| self.cross_entropy.loss(similarities, &targets, way));
            // The columns first: they need the larger bindings.
            let columns = columns.within(wait.clone()).await?;
            Ok(InfoNceLoss::new(rows.within(wait).await?, columns))
        })
    }

    /// The loss and its gradient: with respect to the similarities (N, N), in their type, and to the logarithm s of the scale
    /// 1 / T, from the gradient of the similarities before it is rounded to 16 bits.
    ///
    /// # Errors
    /// As for [`loss`](Self::loss).
    pub fn loss_and_gradients<'a>(
        &'a self,
        similarities: &'a [E],
        shape: Shape,
    ) -> Request<'a, (InfoNceLoss, InfoNceGradients<E>)> {
        self.cross_entropy.request(move |wait| self.both(similarities, shape, wait))
    }

    async fn both(
        &self,
        similarities: &[E],
        shape: Shape,
        wait: Wait,
    ) -> Result<(InfoNceLoss, InfoNceGradients<E>)> {
        check_similarities(similarities, shape)?;
        let targets: Vec<usize> = (0..shape.rows).collect();
        let [mut of_rows, mut of_columns] = [(); 2].map(|()| vec![0f32; shape.len()]);
        let [by_row, by_column] = ways(shape);
        let op = &self.cross_entropy;
        let columns =
            op.loss_into(similarities, &targets, by_column, &mut of_columns).within(wait.clone()).await?;
        let rows = op.loss_into(similarities, &targets, by_row, &mut of_rows).within(wait).await?;
        let mut dlog_scale = 0.0;
        let pairs = of_rows.iter().zip(&of_columns).zip(similarities);
        let dsimilarities = pairs.map(|((&of_row, &of_column), similarity)| {
            let ds = 0.5 * (f64::from(of_row) + f64::from(of_column));
            dlog_scale += log_scale_term(ds, similarity.to_f64());
            E::from_f32(ds as f32)
        });
        let dsimilarities = dsimilarities.collect();
        Ok((InfoNceLoss::new(rows, columns), InfoNceGradients { dsimilarities, dlog_scale }))
    }

    /// Binds the operation to similarities (N, N), dense and row by row, and one set of buffers. A gradient takes two matrices (N, N)
    /// of f32 as scratch, and a third one if only that of s is wanted. All rows are encoded, never fewer: they are the columns'
    /// negatives.
    ///
    /// # Errors
    /// [`Error::NotSquare`](crate::Error::NotSquare), [`Error::ClassAxisNotLast`](crate::Error::ClassAxisNotLast), and those of
    /// [`CrossEntropy::bind`](crate::LossOp::bind). With 16-bit similarities, an odd N has its gradient in f32 only.
    pub fn bind(&self, shape: Shape, to: &InfoNceBuffers<'_>) -> Result<Bound> {
        info_nce_bound::bind(&self.cross_entropy, &self.options, shape, to)
    }

    /// Bytes of device memory kept from the last host call for reuse.
    pub fn idle_buffer_bytes(&self) -> u64 {
        self.cross_entropy.idle_buffer_bytes()
    }

    /// Frees the buffers that [`idle_buffer_bytes`](Self::idle_buffer_bytes) counts.
    pub fn free_idle_buffers(&self) {
        self.cross_entropy.free_idle_buffers();
    }
}

/// The matrix by its rows, and by its columns: the same values with the class axis first.
pub(super) fn ways(shape: Shape) -> [Shape; 2] {
    [shape, Shape::nchw(1, shape.rows, shape.cols)]
}
