//! The numbers of the page's first two parts, for one row of logits.

use wasm_bindgen::prelude::*;
use xent::reference::{self, cross_entropy};
use xent::{CrossEntropyInputs, CrossEntropyOptions, Reduction, RowTarget, Shape, SoftmaxOptions, Targets};

use crate::thrown;

/// Probabilities (cols,) of logits (cols,).
#[wasm_bindgen]
pub fn softmax(logits: &[f32], temperature: f32) -> Result<Vec<f64>, JsError> {
    let options = SoftmaxOptions { temperature, ..Default::default() };
    reference::softmax(logits, Shape::new(1, logits.len()), &options).map_err(thrown)
}

/// The most probable class; the first one if several are equal.
#[wasm_bindgen]
pub fn argmax(logits: &[f32]) -> Result<u32, JsError> {
    let classes = reference::argmax(logits, Shape::new(1, logits.len())).map_err(thrown)?;
    Ok(classes[0])
}

/// `exp(z / T)` of each logit (cols,), in f64, without subtracting the maximum: the steps as a text writes them. +∞ beyond
/// 709.78, the end of f64's range.
#[wasm_bindgen]
pub fn exponentials(logits: &[f32], temperature: f32) -> Vec<f64> {
    logits.iter().map(|&logit| (f64::from(logit) / f64::from(temperature)).exp()).collect()
}

/// σ(z) of each logit (cols,): each class by itself.
#[wasm_bindgen]
pub fn sigmoid(logits: &[f32]) -> Vec<f64> {
    logits.iter().map(|&logit| reference::sigmoid_bce::sigmoid(logit.into())).collect()
}

/// The textbook's softmax in f32, which overflows: `exp(z − shift)` of each logit (cols,), and these over their sum
/// (cols,), one after the other. `shift` is 0, or the largest logit.
#[wasm_bindgen]
pub fn plain_softmax_f32(logits: &[f32], shift: f32) -> Vec<f32> {
    let exponentials: Vec<f32> = logits.iter().map(|&logit| (logit - shift).exp()).collect();
    let sum: f32 = exponentials.iter().sum();
    exponentials.iter().copied().chain(exponentials.iter().map(|&e| e / sum)).collect()
}

/// The calculation of a loss, line by line. With ℓ_j = −ln p_j, the loss is `Σ_j coefficient_j · ℓ_j`.
#[wasm_bindgen]
pub struct Calculation {
    loss: f64,
    lse: f64,
    focus: f64,
    nlls: Vec<f64>,
    shares: Vec<f64>,
    coefficients: Vec<f64>,
    dlogits: Vec<f64>,
}

#[wasm_bindgen]
impl Calculation {
    /// The loss, in nats.
    #[wasm_bindgen(getter)]
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// ln Σ exp(z / T), in nats.
    #[wasm_bindgen(getter)]
    pub fn lse(&self) -> f64 {
        self.lse
    }

    /// The focal factor (1 − p_y)^γ of the true class; 1 without focal loss.
    #[wasm_bindgen(getter)]
    pub fn focus(&self) -> f64 {
        self.focus
    }

    /// −ln p of each class (cols,), in nats.
    #[wasm_bindgen(getter)]
    pub fn nlls(&self) -> Vec<f64> {
        self.nlls.clone()
    }

    /// Each class's share of the target (cols,), smoothed and times its class weight: y in p − y.
    #[wasm_bindgen(getter)]
    pub fn shares(&self) -> Vec<f64> {
        self.shares.clone()
    }

    /// The factor of each class's −ln p in the loss (cols,): its share, times the focal factor where that applies.
    #[wasm_bindgen(getter)]
    pub fn coefficients(&self) -> Vec<f64> {
        self.coefficients.clone()
    }

    /// The gradient of the loss with respect to the logits (cols,).
    #[wasm_bindgen(getter)]
    pub fn dlogits(&self) -> Vec<f64> {
        self.dlogits.clone()
    }
}

/// The loss of logits (cols,) and how it comes about. The target is the class `target`, or `soft` (cols,) if given.
/// `class_weights` is (cols,).
///
/// This is a row's own loss, a sum. In a mean of PyTorch's kind, the weight of the true class would divide it again.
#[wasm_bindgen]
pub fn calculation(
    logits: &[f32],
    target: i32,
    soft: Option<Vec<f32>>,
    class_weights: &[f32],
    temperature: f32,
    label_smoothing: f32,
    focal_gamma: f32,
) -> Result<Calculation, JsError> {
    let options = CrossEntropyOptions {
        temperature,
        label_smoothing,
        focal_gamma,
        reduction: Reduction::Sum,
        ..Default::default()
    };
    calculate(logits, target, soft.as_deref(), class_weights, &options).map_err(thrown)
}

/// [`calculation`], without JavaScript.
fn calculate(
    logits: &[f32],
    target: i32,
    soft: Option<&[f32]>,
    class_weights: &[f32],
    options: &CrossEntropyOptions,
) -> xent::Result<Calculation> {
    let shape = Shape::new(1, logits.len());
    let classes = [target];
    let targets = soft.map_or(Targets::Classes(&classes), Targets::Soft);
    let inputs = CrossEntropyInputs::new(targets).class_weights(class_weights);

    let loss = cross_entropy::loss(logits, inputs, shape, options)?;
    let dlogits = cross_entropy::dlogits(logits, inputs, shape, options)?;
    let softmax_options = SoftmaxOptions { temperature: options.temperature, ..Default::default() };
    let log_probs = reference::log_softmax(logits, shape, &softmax_options)?;

    let target = targets.row(shape, 0);
    let lse = cross_entropy::row_loss(logits, &target, Some(class_weights), options).lse;
    let shares = |options| cross_entropy::row_shares(&target, Some(class_weights), shape.cols, options);
    let smoothed = shares(options).unwrap_or_default();
    let mut coefficients = smoothed.clone();
    let mut focus = 1.0;
    if let RowTarget::Class(class) = target {
        // The focal factor belongs to the target's own term, and not to the smoothing of that class.
        focus = focal_factor(logits, class, options);
        let class = class as usize;
        let own = f64::from(class_weights[class]) * (1.0 - f64::from(options.label_smoothing));
        coefficients[class] += own * (focus - 1.0);
    }
    let nlls = log_probs.iter().map(|log_prob| -log_prob).collect();
    Ok(Calculation { loss, lse, focus, nlls, shares: smoothed, coefficients, dlogits })
}

/// (1 − p_y)^γ, as the ratio of the reference's losses with and without it. If the loss itself is 0, the factor does not
/// matter; it is then 0, its limit, or 1 without focal loss.
fn focal_factor(logits: &[f32], class: i64, options: &CrossEntropyOptions) -> f64 {
    let loss = |focal_gamma| {
        let plain =
            CrossEntropyOptions { temperature: options.temperature, focal_gamma, ..Default::default() };
        cross_entropy::row_loss(logits, &RowTarget::Class(class), None, &plain).loss
    };
    if options.focal_gamma == 0.0 {
        return 1.0;
    }
    let (focused, plain) = (loss(options.focal_gamma), loss(0.0));
    if plain == 0.0 { 0.0 } else { focused / plain }
}

/// The loss of a true class as a function of its probability: one value for each of `probs`, which lie between 0 and 1.
#[wasm_bindgen]
pub fn loss_curve(probs: &[f64], focal_gamma: f32) -> Vec<f64> {
    let options = CrossEntropyOptions { focal_gamma, ..Default::default() };
    let of_prob = |&prob: &f64| {
        // Two classes, the first with this probability: the softmax of (ln p − ln(1 − p), 0).
        let logits = [(prob.ln() - (-prob).ln_1p()) as f32, 0.0];
        cross_entropy::row_loss(&logits, &RowTarget::Class(0), None, &options).loss
    };
    probs.iter().map(of_prob).collect()
}
