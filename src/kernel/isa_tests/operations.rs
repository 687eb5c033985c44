//! The operations that are counted.

use crate::kernel::Needs;
use crate::kernel::passes::{self, Pass, Target, constant};
use crate::op::{entmax_needs, sampler_needs, top_k_needs};
use crate::options::{SamplerOptions, Truncations};

/// An operation, as its pass, its kind of target and the switches that are on.
pub(super) struct Operation {
    pub name: &'static str,
    pub pass: &'static Pass,
    pub target: Target,
    pub on: &'static [&'static str],
    /// What the pass needs, if it searches among a row's logits. How often it reads again depends on the logits, so only its sweeps
    /// are counted.
    pub searches: Option<fn() -> Needs>,
    pub numbers: &'static [(&'static str, u32)],
}

const fn operation(name: &'static str, pass: &'static Pass, target: Target) -> Operation {
    Operation { name, pass, target, on: &[], searches: None, numbers: &[] }
}

/// A pass that searches, with its constants that are numbers.
const fn search(
    name: &'static str,
    pass: &'static Pass,
    needs: fn() -> Needs,
    numbers: &'static [(&'static str, u32)],
) -> Operation {
    Operation { searches: Some(needs), numbers, ..operation(name, pass, Target::None) }
}

impl Operation {
    const fn with(self, on: &'static [&'static str]) -> Self {
        Self { on, ..self }
    }
}

pub(super) static OPERATIONS: [Operation; 23] = [
    operation("loss", &passes::ROW_LOSSES, Target::Class),
    operation("dlogits", &passes::DLOGITS, Target::Class),
    operation("loss, smoothing", &passes::ROW_LOSSES, Target::Class).with(&[constant::TARGET_SUMS]),
    operation("dlogits, smoothing", &passes::DLOGITS, Target::Class).with(&[constant::TARGET_SUMS]),
    operation("loss, softcap", &passes::ROW_LOSSES, Target::Class).with(&[constant::SOFTCAP]),
    operation("loss, soft targets", &passes::ROW_LOSSES, Target::Soft).with(&[constant::TARGET_SUMS]),
    operation("dlogits, soft targets", &passes::DLOGITS, Target::Soft).with(&[constant::TARGET_SUMS]),
    operation("softmax", &passes::SOFTMAX, Target::None),
    operation("log-softmax", &passes::LOG_SOFTMAX, Target::None),
    operation("softmax backward", &passes::SOFTMAX_BACKWARD, Target::None),
    operation("logsumexp", &passes::LOGSUMEXP, Target::None),
    operation("argmax", &passes::ARGMAX, Target::None).with(&[constant::TRACK_ARGMAX]),
    operation("KL", &passes::KL_LOSSES, Target::None),
    operation("KL, dlogits", &passes::KL_DLOGITS, Target::None),
    operation("BCE", &passes::SIGMOID_BCE_LOSSES, Target::None),
    operation("BCE, dlogits", &passes::SIGMOID_BCE_DLOGITS, Target::None),
    operation("InfoNCE, both gradients", &passes::PAIR_GRADIENTS, Target::None),
    operation("sampled softmax", &passes::SAMPLED_LOSSES, Target::Class),
    operation("sampled softmax, dlogits", &passes::SAMPLED_DLOGITS, Target::Class),
    search("1.5-entmax", &passes::ENTMAX, entmax_needs, &[(constant::ENTMAX_POWER, 2)]),
    search("sparsemax", &passes::ENTMAX, entmax_needs, &[(constant::ENTMAX_POWER, 1)]),
    search("top-5", &passes::TOP_K, || top_k_needs(5), &[(constant::TOP_VALUES, 1)]),
    search("token", &passes::SAMPLE, needs_of_token, &[]),
];

/// A token of the whole distribution. With truncations, the kernel spills a few registers.
fn needs_of_token() -> Needs {
    sampler_needs(&SamplerOptions { truncations: Truncations::empty(), ..Default::default() })
}
