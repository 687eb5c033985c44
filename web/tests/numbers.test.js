// The numbers that the page shows, straight from its WebAssembly, against their definitions.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { before, test } from "node:test";
import { DIST } from "./browser.js";

const LOGITS = Float32Array.of(2, 1, 0.5, -1);
const ONES = Float32Array.of(1, 1, 1, 1);
let xent;

before(async () => {
  // As data, which every version of node takes for a module: the folder that is served says nothing about node.
  const glue = await readFile(join(DIST, "wasm", "xent_web.js"), "base64");
  xent = await import(`data:text/javascript;base64,${glue}`);
  xent.initSync({ module: await readFile(join(DIST, "wasm", "xent_web_bg.wasm")) });
});

const near = (actual, expected, error = 1e-12, name = "") =>
  assert.ok(Math.abs(actual - expected) <= error * (1 + Math.abs(expected)), `${name} ${actual}, not ${expected}`);

test("exponentials over their sum are the reference's probabilities", () => {
  for (const temperature of [Math.fround(0.05), 1, 20]) {
    const exponentials = xent.exponentials(LOGITS, temperature);
    const sum = exponentials.reduce((total, value) => total + value);
    xent.softmax(LOGITS, temperature).forEach((p, index) => near(p, exponentials[index] / sum));
    exponentials.forEach((value, index) => near(value, Math.exp(LOGITS[index] / temperature)));
  }
});

test("the lines of a calculation add up to the loss, and the gradient is its slope", () => {
  const soft = Float32Array.of(0.1, 0.6, 0.3, 0);
  const weights = Float32Array.of(1, 2, 0.5, 3);
  for (const [name, ...options] of [
    ["plain", undefined, ONES, 1, 0, 0],
    ["warm", undefined, ONES, 1.5, 0, 0],
    ["smoothed", undefined, ONES, 1, 0.2, 0],
    ["focal", undefined, ONES, 1, 0, 2],
    ["weighted, smoothed, focal and warm", undefined, weights, 1.5, 0.2, 2],
    ["soft", soft, ONES, 1, 0, 0],
    ["soft, weighted and smoothed", soft, weights, 1.5, 0.1, 0],
  ]) {
    const of = xent.calculation(LOGITS, 1, ...options);
    const sum = of.coefficients.reduce((total, factor, index) => total + factor * of.nlls[index], 0);
    near(sum, of.loss, 1e-7, name);
    near(of.dlogits.reduce((total, value) => total + value), 0, 1e-7, name);
    const step = 2 ** -10;
    of.dlogits.forEach((slope, index) => {
      const loss = (by) => xent.calculation(LOGITS.map((logit, at) => (at === index ? logit + by : logit)), 1, ...options).loss;
      near(slope, (loss(step) - loss(-step)) / (2 * step), 1e-5, name);
    });
  }
  near(xent.calculation(LOGITS, 1, undefined, ONES, 2, 0, 0).lse, Math.log(LOGITS.reduce((sum, z) => sum + Math.exp(z / 2), 0)));
  const focal = xent.calculation(LOGITS, 1, undefined, ONES, 1, 0, 2);
  near(focal.focus, (1 - Math.exp(-focal.nlls[1])) ** 2);
});

test("top-k and top-p leave out classes and renormalise, and draws are of what is left", () => {
  const softmax = [...xent.softmax(LOGITS, 2)];
  const over = (kept) => softmax.map((p, index) => (kept.includes(index) ? p / kept.reduce((sum, at) => sum + softmax[at], 0) : NaN));
  for (const [topK, topP, kept] of [
    [0, 1, [0, 1, 2, 3]],
    [3, 1, [0, 1, 2]],
    [0, 0.5, [0, 1]],
    [0, 0, [0]],
    // 0.4393 + 0.2664 are 0.6216 and 0.3784 of their sum.
    [2, 0.6, [0]],
    [9, 1, [0, 1, 2, 3]],
  ]) {
    const steps = new xent.Steps(1, 2, topK, topP);
    const probs = [...steps.probs(LOGITS)];
    over(kept).forEach((p, index) => (kept.includes(index) ? near(probs[index], p, 1e-9, `${topK} ${topP}`) : assert.ok(Number.isNaN(probs[index]))));
    const counts = [...steps.counts(LOGITS, 10000)];
    assert.equal(counts.reduce((sum, count) => sum + count), 10000);
    counts.forEach((count, index) => near(count / 10000, kept.includes(index) ? probs[index] : 0, 0.02, `${topK} ${topP}`));
    // The first draws are the same, however many there are.
    const first = [...steps.counts(LOGITS, 9999)];
    assert.deepEqual(counts.map((count, index) => count - first[index]).sort(), [0, 0, 0, 1]);
  }
  const counts = (seed) => [...new xent.Steps(seed, 1, 0, 1).counts(LOGITS, 1000)];
  assert.notDeepEqual(counts(1), counts(2));
  assert.deepEqual(counts(1), counts(1));
});

test("the curve is the negative logarithm, times the focal factor", () => {
  const probs = Float64Array.of(0.0024, 0.25, 0.5, 0.99);
  xent.loss_curve(probs, 0).forEach((loss, index) => near(loss, -Math.log(probs[index]), 1e-6));
  xent.loss_curve(probs, 2).forEach((loss, index) => near(loss, -Math.log(probs[index]) * (1 - probs[index]) ** 2, 1e-6));
});

test("the textbook's form overflows in f32, and the shifted one does not", () => {
  const large = LOGITS.map((logit) => 1000 * logit);
  assert.deepEqual([...xent.plain_softmax_f32(large, 0)], [Infinity, Infinity, Infinity, 0, NaN, NaN, NaN, 0]);
  assert.deepEqual([...xent.plain_softmax_f32(large, 2000)], [1, 0, 0, 0, 1, 0, 0, 0]);
});

test("what the crate refuses is an Error with its words", () => {
  assert.throws(() => xent.softmax(LOGITS, 0), /temperature/);
  assert.throws(() => xent.softmax(new Float32Array(), 1), Error);
  assert.throws(() => xent.calculation(LOGITS, 4, undefined, ONES, 1, 0, 0), /target/);
  assert.throws(() => xent.calculation(LOGITS, 0, undefined, Float32Array.of(1), 1, 0, 0), Error);
  assert.throws(() => xent.calculation(LOGITS, 0, undefined, ONES, 1, 2, 0), /label_smoothing/);
  assert.throws(() => new xent.Steps(1, -1, 0, 1), /temperature/);
  assert.throws(() => new xent.Steps(1, 1, 0, NaN), /top_p/);
  assert.throws(() => new xent.Batch(4096, 128256, 1), /logits/);
  assert.throws(() => new xent.Batch(0, 10, 1), /logits/);
});
