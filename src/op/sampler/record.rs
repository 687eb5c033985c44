//! The record of a row, and its samples.

use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::options::{SamplerOptions, Sampling, Step, Truncations, share_of_32_bits};
use crate::reference::sampling::{applies_xtc, half_min_p_gap};
use crate::results::Samples;

/// How tokens are drawn from a row, in the form that the kernel reads: see [`Sampler::record`](crate::Sampler::record).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct SamplingRecord {
    words: [u32; RECORD_WORDS],
}

/// As in `shaders/common/sampling_record.wgsl`.
pub(crate) const RECORD_WORDS: usize = 16;

/// The records of `rows` rows: of one value for each row, or of one for all, whose counter then goes on by `step` from a row
/// to the next.
pub(crate) fn records_of(
    samplings: &[Sampling],
    rows: usize,
    step: u64,
    options: &SamplerOptions,
) -> Result<Vec<SamplingRecord>> {
    match samplings {
        [all] => {
            // Only the counter differs, and with it XTC's random number.
            record_of(all, options)?;
            let of_row = |row: usize| {
                let counter = all.counter.wrapping_add(step.wrapping_mul(row as u64));
                record_of(&Sampling { counter, ..*all }, options)
            };
            (0..rows).map(of_row).collect()
        }
        each if each.len() == rows => {
            let at_row = |(row, sampling)| record_of(sampling, options).map_err(|error| error.at_index(row));
            each.iter().enumerate().map(at_row).collect()
        }
        each => Err(Error::Length { what: "samplings", found: each.len(), needed: rows }),
    }
}

pub(super) fn record_of(sampling: &Sampling, options: &SamplerOptions) -> Result<SamplingRecord> {
    sampling.check()?;
    let needed = "off, or among the truncations that the sampler was built with";
    let on = sampling.truncations();
    if let Some((name, _)) = (on - options.truncations).iter_names().next() {
        let (option, value) = match name {
            "TOP_K" => ("top_k", sampling.top_k as f64),
            "TOP_P" => ("top_p", sampling.top_p.into()),
            "MIN_P" => ("min_p", sampling.min_p.into()),
            "TYPICAL" => ("typical_p", sampling.typical_p.into()),
            "TOP_N_SIGMA" => ("top_n_sigma", sampling.top_n_sigma.into()),
            "EPSILON" => ("epsilon", sampling.epsilon.into()),
            "ETA" => ("eta", sampling.eta.into()),
            _ => ("xtc_probability", sampling.xtc_probability.into()),
        };
        return Err(Error::option(option, value, needed));
    }
    let on = if applies_xtc(sampling) { on } else { on - Truncations::XTC };
    let ln = |value: f32| (f64::from(value).ln() as f32).to_bits();
    let temperature = f64::from(options.order.truncation_temperature(sampling.temperature));
    let halves = |value: u64| [value as u32, (value >> 32) as u32];
    let count = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let mut words = [0; RECORD_WORDS];
    words[0] = on.bits();
    for step in options.order.steps().into_iter().filter(|&step| on.bits() >> step as u32 & 1 == 1) {
        words[step as usize] = match step {
            Step::TopNSigma => sampling.top_n_sigma.to_bits(),
            Step::TopK => count(sampling.top_k),
            Step::TopP => share_of_32_bits(sampling.top_p),
            Step::MinP => half_min_p_gap(temperature, sampling.min_p).to_bits(),
            Step::Typical => share_of_32_bits(sampling.typical_p),
            Step::Epsilon => ln(sampling.epsilon),
            Step::Eta => ln(sampling.eta),
            Step::Xtc => ln(sampling.xtc_threshold),
        };
    }
    words[9] = count(sampling.min_keep);
    words[10] = sampling.temperature.to_bits();
    words[11] = sampling.first_draw;
    words[12..14].copy_from_slice(&halves(sampling.counter));
    words[14..].copy_from_slice(&halves(sampling.seed));
    Ok(SamplingRecord { words })
}

/// The samples in the three arrays that the pass writes.
pub(super) fn samples_of(samples: usize, arrays: Vec<Vec<u32>>) -> Samples {
    let mut arrays = arrays.into_iter();
    let mut next = || arrays.next().unwrap_or_default();
    let (tokens, log_probs, rows) = (next(), next(), next());
    let every_other =
        |words: &[u32], from: usize| -> Vec<u32> { words.iter().copied().skip(from).step_by(2).collect() };
    let floats = |from| every_other(&log_probs, from).into_iter().map(f32::from_bits).collect();
    Samples {
        samples,
        tokens,
        log_probs: floats(0),
        raw_log_probs: floats(1),
        kept: every_other(&rows, 0),
        flags: every_other(&rows, 1).into_iter().map(Flags::from_bits_truncate).collect(),
    }
}
