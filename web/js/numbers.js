// Every number of the first two parts, from the crate's reference in WebAssembly.

import * as xent from "../wasm/xent_web.js";

const f32 = (values) => Float32Array.from(values);

export function numbersOf(state) {
  const { logits, temperature, target } = state;
  const z = f32(logits);
  const probs = [...xent.softmax(z, temperature)];
  const exponentials = [...xent.exponentials(z, temperature)];
  return {
    probs,
    exponentials,
    sum: exponentials.reduce((sum, value) => sum + value, 0),
    argmax: xent.argmax(z),
    sigmoids: [...xent.sigmoid(f32(logits.map((logit) => logit / temperature)))],
    sampling: samplingOf(state, z),
    ...lossOf(state),
    // The mistake, without temperature and other options: only the softmax is in question.
    once: calculation(state, z, { plain: true }).loss,
    twice: calculation(state, f32(xent.softmax(z, 1)), { plain: true }).loss,
    twiceBest: calculation(state, f32(logits.map((_, index) => (index === target ? 1 : 0))), { plain: true }).loss,
  };
}

// What top-k and top-p leave: NaN for a class that is left out. And how often the reference draws each class.
function samplingOf({ seed, temperature, topK, topP, draws }, logits) {
  const steps = new xent.Steps(seed, temperature, topK, topP);
  const of = { probs: [...steps.probs(logits)], counts: [...steps.counts(logits, draws)] };
  steps.free();
  return of;
}

// The loss with all its options, or the crate's refusal.
export function lossOf(state) {
  try {
    return { ...calculation(state, f32(state.logits)), refusal: null };
  } catch (error) {
    const none = state.logits.map(() => NaN);
    return { loss: NaN, lse: NaN, focus: NaN, nlls: none, shares: none, coefficients: none, dlogits: none, refusal: error.message };
  }
}

function calculation({ target, soft, weights, temperature, smoothing, focal }, logits, { plain = false } = {}) {
  const of = plain
    ? xent.calculation(logits, target, undefined, f32(logits.map(() => 1)), 1, 0, 0)
    : xent.calculation(logits, target, soft ? f32(soft) : undefined, f32(weights), temperature, smoothing, soft ? 0 : focal);
  const { loss, lse, focus } = of;
  const lists = { nlls: [...of.nlls], shares: [...of.shares], coefficients: [...of.coefficients], dlogits: [...of.dlogits] };
  of.free();
  return { loss, lse, focus, ...lists };
}

export const gradientStep = (logits, dlogits, rate) =>
  logits.map((logit, index) => Math.fround(logit - rate * dlogits[index]));

export const softmax = (logits, temperature = 1) => [...xent.softmax(f32(logits), temperature)];
export const sigmoid = (logit) => xent.sigmoid(f32([logit]))[0];
export const curve = (probs, gamma) => [...xent.loss_curve(Float64Array.from(probs), gamma)];

// The textbook's softmax in f32: exponentials and probabilities.
export function plainSoftmax(logits, shift) {
  const values = [...xent.plain_softmax_f32(f32(logits), shift)];
  return { exponentials: values.slice(0, logits.length), probs: values.slice(logits.length) };
}
