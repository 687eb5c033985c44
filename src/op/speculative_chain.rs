//! Speculative decoding: which drafts of a chain are accepted, and the token after them.

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::kernel::passes::binding::{accept_drafts, sample};
use crate::kernel::passes::{self, constant};
use crate::kernel::{Needs, Params, Tuning};
use crate::op::Bound;
use crate::op::rows::{RowArray, RowValues, ValuesOf};
use crate::op::sampler::{RECORD_WORDS, SamplingRecord, records_of};
use crate::options::{MAX_SAMPLES, SamplerOptions, Sampling};
use crate::request::Request;
use crate::results::AcceptedDrafts;
use crate::shape::Shape;

/// Accepts or refuses drafts, so that the tokens have the distribution of the target model (Leviathan et al. 2023, *Fast
/// inference from transformers via speculative decoding*, arXiv:2211.17192; Chen et al. 2023, arXiv:2302.01318).
///
/// A chain is the drafts of one request, one after another. Draft y of a position is accepted if u·p < q, strictly, with p
/// and q its probabilities and u a random number in [0, 1). Where one is refused, a token is drawn from max(q − p, 0), and
/// the chain ends; after the last draft, one is drawn from q. If rounding has left nothing of q − p, the token is drawn
/// from q.
///
/// q are the probabilities of the target and p those that the drafts were drawn from, both after temperature and
/// truncations. (A draft that was not drawn, but chosen, has p = 1.) The weights of a draw are in fixed point, so tokens
/// do not depend on lanes or windows, and [`reference::sampling::accept_chain`](crate::reference::sampling::accept_chain)
/// gives the same.
///
/// There is another way, that of llama.cpp: draw each position's token from the target as without drafts, and accept as
/// many drafts as agree. The tokens are then those without speculation: [`Samples::accept_drafts`](crate::Samples::accept_drafts).
///
/// | case | result |
/// | --- | --- |
/// | NaN or ∞ among the probabilities that decide | no token after the drafts accepted before, and a flag |
/// | a position without any probability | likewise, with [`Flags::MASKED_ROW`] |
/// | a draft that is no class | on host slices an error; in buffers likewise, with [`Flags::TARGET_OUT_OF_RANGE`] |
/// | a negative probability | counts as 0 |
///
/// ```no_run
/// use xent::{Context, Sampling, Shape, SpeculativeChain};
///
/// let gpu = Context::new().wait()?;
/// let chains = SpeculativeChain::new(&gpu, 1)?;
/// let (target, draft) = ([0.5, 0.3, 0.2, 0.5, 0.3, 0.2], [0.2, 0.5, 0.3]);
/// let sampling = Sampling { seed: 42, ..Default::default() };
/// // q / p of class 0 is above 1: always accepted, and another token follows.
/// let found = chains.accept(&target, &draft, &[0], &[sampling], Shape::new(1, 3)).wait()?;
/// assert_eq!((found.accepted[0], found.tokens[0]), (1, 0));
/// # Ok::<(), xent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SpeculativeChain {
    rows: RowValues<f32>,
    drafts: usize,
}

/// The buffers of a bound [`SpeculativeChain`].
///
/// More fields may come: end a literal with `..ChainBuffers::new(probs, drafts, samplings, tokens, chains)`.
#[derive(Clone, Debug)]
pub struct ChainBuffers<'a> {
    /// Probabilities of the target: f32 (chains, drafts + 1, cols).
    pub target_probs: wgpu::BufferBinding<'a>,
    /// Probabilities that the drafts were drawn from: f32 (chains, drafts, cols).
    pub draft_probs: wgpu::BufferBinding<'a>,
    /// The drafts: u32 (chains, drafts).
    pub drafts: wgpu::BufferBinding<'a>,
    /// The random numbers of each chain: a [`SamplingRecord`] (chains,).
    pub samplings: wgpu::BufferBinding<'a>,
    /// Destination of the accepted drafts, the token after them, and [`NO_CLASS`](crate::NO_CLASS): u32 (chains, drafts + 1).
    pub tokens: wgpu::BufferBinding<'a>,
    /// Destination of the number of accepted drafts, and the chain's [`Flags`]: u32 (chains, 2).
    pub chains: wgpu::BufferBinding<'a>,
}

impl<'a> ChainBuffers<'a> {
    /// Probabilities of the target (chains, drafts + 1, cols) and of the drafts (chains, drafts, cols); drafts (chains,
    /// drafts) and records (chains,); and the destinations of tokens (chains, drafts + 1), and of counts and flags
    /// (chains, 2).
    pub fn new(
        [target_probs, draft_probs]: [wgpu::BufferBinding<'a>; 2],
        drafts: wgpu::BufferBinding<'a>,
        samplings: wgpu::BufferBinding<'a>,
        tokens: wgpu::BufferBinding<'a>,
        chains: wgpu::BufferBinding<'a>,
    ) -> Self {
        Self { target_probs, draft_probs, drafts, samplings, tokens, chains }
    }
}

impl SpeculativeChain {
    /// Builds the operation on a context, for chains of this many drafts: 1..=[`MAX_SAMPLES`].
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::DeviceLimit`].
    pub fn new(gpu: &Context, drafts: usize) -> Result<Self> {
        if !(1..=MAX_SAMPLES).contains(&drafts) {
            return Err(Error::option("drafts", drafts as f64, "in 1..=256"));
        }
        Ok(Self { rows: RowValues::new(gpu, values_of(drafts, 0))?, drafts })
    }

    /// Uses this tuning instead of the one that the plan would choose. A workgroup takes one chain, whatever the tuning
    /// says.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a tuning that the device cannot run.
    pub fn with_tuning(mut self, tuning: Tuning) -> Result<Self> {
        self.rows.engine = self.rows.engine.tuned(tuning)?;
        Ok(self)
    }

    /// Drafts of a chain.
    pub fn drafts(&self) -> usize {
        self.drafts
    }

    /// The record of a chain, for [`ChainBuffers::samplings`]: seed, counter and first draw of a sampling. Position i takes
    /// the random numbers of the counter plus i.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a value outside its range.
    pub fn record(&self, sampling: &Sampling) -> Result<SamplingRecord> {
        Ok(records_of(&[*sampling], 1, 0, &SamplerOptions::default())?[0])
    }

    /// Accepts or refuses the drafts (chains, drafts), with the target's probabilities (chains, drafts + 1, cols) and
    /// those of the drafts (chains, drafts, cols). The shape is dense: its rows are chains, its cols classes. `samplings`
    /// has one value for each chain, or one for all; then chain r has the given counter plus r·(drafts + 1). Only seed,
    /// counter and first draw of a value matter.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::InvalidOption`] with the chain; [`Error::TargetOutOfRange`] for a draft that is no
    /// class; [`Error::ClassAxisNotLast`] and [`Error::Layout`] for other shapes; as for
    /// [`Softmax::softmax`](crate::Softmax::softmax).
    pub fn accept<'a>(
        &'a self,
        target_probs: &'a [f32],
        draft_probs: &'a [f32],
        drafts: &'a [u32],
        samplings: &'a [Sampling],
        shape: Shape,
    ) -> Request<'a, AcceptedDrafts> {
        let waits = self.rows.engine.gpu.waits();
        Request::new(waits, move |wait| async move {
            let (chains, cols, each) = (shape.rows, shape.cols, self.drafts);
            let whole = self.whole(shape)?;
            for (what, found, needed) in [
                ("target_probs", target_probs.len(), whole.len()),
                ("draft_probs", draft_probs.len(), chains * each * cols),
                ("drafts", drafts.len(), chains * each),
            ] {
                if found != needed {
                    return Err(Error::Length { what, found, needed });
                }
            }
            if let Some(at) = drafts.iter().position(|&draft| draft as usize >= cols) {
                return Err(Error::TargetOutOfRange { row: at, target: drafts[at].into(), cols });
            }
            let records = records_of(samplings, chains, each as u64 + 1, &SamplerOptions::default())?;
            let inputs = [bytemuck::cast_slice(&records), bytemuck::cast_slice(draft_probs), drafts];
            let arrays = self.of(cols).all_with(target_probs, &inputs, whole, wait).await?;
            let mut arrays = arrays.into_iter();
            let (tokens, told): (Vec<u32>, Vec<u32>) =
                (arrays.next().unwrap_or_default(), arrays.next().unwrap_or_default());
            let every_other = |from: usize| told.iter().copied().skip(from).step_by(2);
            Ok(AcceptedDrafts {
                drafts: each,
                tokens,
                accepted: every_other(0).collect(),
                flags: every_other(1).map(Flags::from_bits_truncate).collect(),
            })
        })
    }

    /// Binds the operation to one shape, whose rows are chains and whose cols are classes, and one set of buffers.
    ///
    /// # Errors
    /// As for [`accept`](Self::accept) and [`Softmax::bind`](crate::Softmax::bind).
    pub fn bind(&self, shape: Shape, to: &ChainBuffers<'_>) -> Result<Bound> {
        let ChainBuffers { target_probs, draft_probs, drafts, samplings, tokens, chains } = to;
        let inputs = [samplings, draft_probs, drafts];
        self.of(shape.cols).bind(self.whole(shape)?, target_probs, &inputs, &[tokens, chains])
    }

    /// The layout of the target's probabilities: a row is a chain.
    fn whole(&self, shape: Shape) -> Result<Shape> {
        shape.check()?;
        if shape.inner > 1 {
            return Err(Error::ClassAxisNotLast { inner: shape.inner });
        }
        if shape.row_stride != shape.cols {
            return Err(Error::Length { what: "row_stride", found: shape.row_stride, needed: shape.cols });
        }
        let whole = Shape::new(shape.rows, shape.cols.saturating_mul(self.drafts + 1));
        whole.check()?;
        Ok(whole)
    }

    fn of(&self, cols: usize) -> RowValues<f32> {
        RowValues { of: values_of(self.drafts, cols), ..self.rows.clone() }
    }
}

/// What the pass needs for chains of this many drafts.
fn chain_needs(drafts: usize, cols: usize) -> Needs {
    Needs {
        row_words: RECORD_WORDS.max(drafts * cols),
        // Sums of lanes, and counts.
        lane_bytes: 8 + 4,
        shared_bytes: (2048 + 512 + 256) * 4 + 48,
        is_alone: true,
        // One position of the chain is read three times at most, value by value, and its share once more.
        further_reads: 8,
        fixed_iterations: 0,
        own_iterations: 2 * drafts as u64 + 100,
    }
}

fn values_of(drafts: usize, cols: usize) -> ValuesOf {
    ValuesOf {
        pass: &passes::ACCEPT_DRAFTS,
        logits: "target_probs",
        inputs: vec![
            RowArray::new("samplings", sample::SAMPLINGS, RECORD_WORDS),
            RowArray::new("draft_probs", accept_drafts::DRAFT_PROBS, drafts * cols),
            RowArray::new("drafts", accept_drafts::DRAFTS, drafts),
        ],
        arrays: vec![
            RowArray::new("tokens", accept_drafts::CHAIN_TOKENS, drafts + 1),
            RowArray::new("chains", accept_drafts::CHAINS_TOLD, 2),
        ],
        splits: false,
        needs: chain_needs(drafts, cols),
        constants: vec![(constant::SAMPLING_STEPS, 0), (constant::TRUNCATES, 0)],
        params: Params { entries: drafts as u32, ..Params::default() },
        around: None,
    }
}
