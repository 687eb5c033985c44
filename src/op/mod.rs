//! The public operations, one per file. Three types stand for three steps: build an operation once on a context, with
//! its options; bind it to one shape and one set of buffers; encode it as often as you like. The methods for host
//! slices are a thin layer over these three.

mod argmax;
mod bound;
mod buffers;
mod cross_entropy;
mod engine;
mod entmax;
mod entmax_backward;
mod entmax_loss;
mod info_nce;
mod info_nce_bound;
mod kl_divergence;
mod logsumexp;
mod loss;
mod masked_softmax;
mod output;
mod pool;
mod row_moments;
mod rows;
mod sampled_softmax;
mod sampler;
mod shards;
mod sigmoid_bce;
mod softmax;
mod softmax_backward;
mod speculative_chain;
mod stream;
mod top_k;

pub use argmax::{Argmax, ArgmaxBuffers};
pub use bound::Bound;
pub use cross_entropy::{CrossEntropy, CrossEntropyBuffers, CrossEntropyStream, TargetBuffers};
#[cfg(test)]
pub(crate) use entmax::entmax_needs;
pub use entmax::{Entmax, EntmaxBuffers, EntmaxStream};
pub use entmax_backward::EntmaxBackward;
pub use entmax_loss::{EntmaxLoss, EntmaxLossBuffers, EntmaxLossStream};
pub use info_nce::{InfoNce, InfoNceBuffers};
pub use kl_divergence::{KlDivergence, KlDivergenceBuffers, KlDivergenceStream};
pub use logsumexp::{LogSumExp, LogSumExpBuffers};
pub(crate) use loss::Kind;
#[cfg(test)]
pub(crate) use loss::{BLOCK_ROWS, TOTALS_BYTES};
pub use loss::{LossKind, LossOp, LossOutputs, LossStream, RowInputBuffers};
pub use masked_softmax::{MaskedSoftmax, MaskedSoftmaxBuffers};
pub use output::OutputBuffer;
#[cfg(test)]
pub(crate) use row_moments::row_moments_needs;
pub(crate) use row_moments::{BETAS, MOMENT_WORDS, MomentsStream, RowMoments, rounded_beta};
pub use rows::{BackwardBuffers, MapKind, MapOp, MapStream};
pub use sampled_softmax::{NegativeBuffers, SampledSoftmax, SampledSoftmaxBuffers, SampledSoftmaxStream};
#[cfg(test)]
pub(crate) use sampler::sampler_needs;
pub use sampler::{Sampler, SamplerBuffers, SamplerStream, SamplingRecord};
pub use sigmoid_bce::{SigmoidBce, SigmoidBceBuffers, SigmoidBceStream};
pub use softmax::{Softmax, SoftmaxBuffers, SoftmaxStream};
pub use softmax_backward::SoftmaxBackward;
pub use speculative_chain::{ChainBuffers, SpeculativeChain};
pub(crate) use stream::{Flight, Start, WINDOWS_AHEAD, device_shape};
pub use top_k::{TopK, TopKBuffers, TopKStream};
#[cfg(test)]
pub(crate) use top_k::{top_k_needs, top_k_rows_needs};
