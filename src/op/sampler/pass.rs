//! The passes of sampling, and what they need.

use crate::kernel::passes::binding::sample;
use crate::kernel::passes::{self, constant};
use crate::kernel::{Needs, Params};
use crate::op::rows::{Around, RowArray, ValuesOf, stats_switches};
use crate::op::sampler::record::RECORD_WORDS;
use crate::options::{SamplerOptions, StepOrder, Truncations};

/// What the pass needs with these options.
pub(crate) fn sampler_needs(options: &SamplerOptions) -> Needs {
    // A search collects classes twice, at most, before it takes four reads for its digits and two more to collect its
    // classes, or to find the last of those that are alike. Sums take one read.
    let (mut searches, mut sums) = (0, 1);
    for truncation in options.truncations {
        searches += 1;
        sums += match truncation {
            Truncations::TOP_K => 0,
            Truncations::TOP_P | Truncations::TYPICAL | Truncations::MIN_P => 1,
            Truncations::TOP_N_SIGMA => 3,
            _ => 2,
        };
    }
    // A race is a search with at most five reads, two for each pack, and one sort.
    searches += 2 * u64::from(!options.replacement);
    let samples = options.samples as u64;
    Needs {
        row_words: RECORD_WORDS.max(2 * options.samples),
        // Sums of lanes, and counts.
        lane_bytes: 8 + 4,
        // The pool, the sums and the largest keys of blocks, and a few words.
        shared_bytes: (2048 + 512 + 256) * 4 + 48,
        is_alone: true,
        // Besides the two that the plan counts: the first class may be looked for twice. A draw reads one block of 256.
        further_reads: 8 * searches + sums + samples.div_ceil(128),
        // Emptying the pool five times; three times sorting 1,024 candidates and adding up their weights; twice ranking the
        // keys of 256 blocks and going through 512 packs; emptying the sums.
        fixed_iterations: searches * (5 * 2048 + 3 * 31_000 + 2 * 5_000) + sums * 512,
        // Looking for a digit among 256 four times, and at 256 blocks twice; adding up the blocks and the lanes; a draw.
        own_iterations: searches * 1_800 + sums * 512 + samples * 50,
    }
}

pub(super) fn values_of(options: &SamplerOptions) -> ValuesOf {
    let samples = options.samples;
    let steps = options.order.steps().into_iter().enumerate();
    let order = steps.map(|(at, step)| (step as u32) << (4 * at)).sum();
    ValuesOf {
        pass: &passes::SAMPLE,
        logits: "logits",
        inputs: vec![RowArray::new("samplings", sample::SAMPLINGS, RECORD_WORDS)],
        arrays: vec![
            RowArray::new("tokens", sample::TOKENS, samples),
            RowArray::new("log_probs", sample::LOG_PROBS, 2 * samples),
            RowArray::new("rows", sample::ROWS, 2),
        ],
        splits: false,
        needs: sampler_needs(options),
        constants: vec![
            (constant::SAMPLING_ORDER, order),
            (constant::SAMPLING_STEPS, options.truncations.bits()),
            (constant::TRUNCATES, u32::from(!options.truncations.is_empty())),
            (constant::TRUNCATES_FIRST, u32::from(options.order == StepOrder::LlamaCpp)),
            (constant::REPLACEMENT, u32::from(options.replacement)),
        ],
        params: Params { entries: samples as u32, ..Params::default() },
        around: None,
    }
}

/// The same, of logits that a pass before it changes: by records of this many words for each row.
pub(super) fn values_of_changed(options: &SamplerOptions, row_words: usize) -> ValuesOf {
    let mut of = values_of(options);
    of.inputs.push(RowArray::new("changes", sample::CHANGES, row_words));
    of.needs.row_words = of.needs.row_words.max(row_words);
    // A row may have as many changes as classes: four for each quad that a lane reads.
    of.needs.further_reads += 4;
    of.around = Some(Around {
        before: &passes::CHANGE_SCORES,
        before_entries: row_words as u32,
        after: &passes::RAW_LOG_PROBS,
        constants: stats_switches(&[]),
    });
    of
}
