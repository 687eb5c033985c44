//! Sampling: what is left of one row after top-k and top-p, how often each class was drawn from it, and the same draws on
//! the visitor's GPU.

use wasm_bindgen::prelude::*;
use xent::reference::sampling::{Support, support_row};
use xent::{Sampler, SamplerOptions, Sampling, Shape, StepOrder, Truncations};

use crate::gpu::Gpu;
use crate::thrown;

/// Draws of one row of a batch on the GPU: the most that a [`Sampler`] takes.
const ROW_DRAWS: usize = xent::MAX_SAMPLES;

/// The order of the steps: temperature, top-k, top-p.
const ORDER: StepOrder = StepOrder::HuggingFace;

/// How a class is drawn from one row of logits.
#[wasm_bindgen]
#[derive(Clone, Copy)]
pub struct Steps(Sampling);

#[wasm_bindgen]
impl Steps {
    /// The softmax at this temperature, then top-k (0 is off), then top-p (1 is off), and the seed of the draws.
    ///
    /// Throws what [`Sampling::check`] refuses.
    #[wasm_bindgen(constructor)]
    pub fn new(seed: u32, temperature: f32, top_k: usize, top_p: f32) -> Result<Self, JsError> {
        let sampling = Sampling { seed: seed.into(), temperature, top_k, top_p, ..Default::default() };
        sampling.check().map_err(thrown)?;
        Ok(Self(sampling))
    }

    /// The probability of each class (cols,) after the steps: NaN for a class that they leave out.
    pub fn probs(&self, logits: &[f32]) -> Vec<f64> {
        let log_probs = self.support(logits).log_probs.into_iter();
        log_probs.map(|log_p| if log_p == f64::NEG_INFINITY { f64::NAN } else { log_p.exp() }).collect()
    }

    /// How often each class (cols,) is among the draws 0..`draws` of the reference.
    pub fn counts(&self, logits: &[f32], draws: u32) -> Vec<u32> {
        counts(logits.len(), self.classes(logits, draws))
    }

    fn support(&self, logits: &[f32]) -> Support {
        support_row(logits, &self.0, ORDER)
    }

    fn classes(&self, logits: &[f32], draws: u32) -> impl Iterator<Item = usize> {
        let (support, sampling) = (self.support(logits), self.0);
        (0..draws).filter_map(move |draw| support.draw(support.point(&sampling, draw)))
    }
}

/// How often each of `cols` classes occurs.
fn counts(cols: usize, classes: impl Iterator<Item = usize>) -> Vec<u32> {
    let mut counts = vec![0; cols];
    for class in classes {
        if let Some(count) = counts.get_mut(class) {
            *count += 1;
        }
    }
    counts
}

/// What the GPU has drawn, beside the reference.
#[wasm_bindgen]
pub struct Drawn {
    counts: Vec<u32>,
    differing: usize,
}

#[wasm_bindgen]
impl Drawn {
    /// How often each class was drawn (cols,).
    #[wasm_bindgen(getter)]
    pub fn counts(&self) -> Vec<u32> {
        self.counts.clone()
    }

    /// How many draws gave another class than the same draw of the reference. A few may: exponentials differ by roundings,
    /// and a random number may fall between two of them.
    #[wasm_bindgen(getter)]
    pub fn differing(&self) -> usize {
        self.differing
    }
}

#[wasm_bindgen]
impl Gpu {
    /// The draws 0..`draws` from one row of logits (cols,) by the crate's [`Sampler`] on the device.
    pub async fn sample(&self, logits: &[f32], steps: &Steps, draws: u32) -> Result<Drawn, JsError> {
        let options = SamplerOptions {
            samples: ROW_DRAWS,
            order: ORDER,
            truncations: Truncations::TOP_K | Truncations::TOP_P,
            ..Default::default()
        };
        let sampler = Sampler::<f32>::new(self.context(), &options).map_err(thrown)?;
        let rows = (draws as usize).div_ceil(ROW_DRAWS);
        let samplings: Vec<Sampling> =
            (0..rows).map(|row| Sampling { first_draw: (row * ROW_DRAWS) as u32, ..steps.0 }).collect();
        let batch = logits.repeat(rows);
        let shape = Shape::new(rows, logits.len());
        let samples = sampler.sample(&batch, &samplings, shape).await.map_err(thrown)?;

        let tokens = &samples.tokens[..draws as usize];
        let expected = steps.classes(logits, draws);
        let same = tokens.iter().zip(expected).filter(|&(&token, class)| token as usize == class).count();
        let counts = counts(logits.len(), tokens.iter().map(|&token| token as usize));
        Ok(Drawn { counts, differing: tokens.len() - same })
    }
}
