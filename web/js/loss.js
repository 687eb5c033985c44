// The second part: the loss of a target, its calculation, its gradient, and the knobs.

import { drawCurve } from "./curve.js";
import { $, el, onTyped, rich, show, slide, text } from "./dom.js";
import { exponential, fixed, isolated, nats, plain, prob, share, short } from "./format.js";
import { logitControls, sliderRange } from "./softmax.js";
import { MAX_WEIGHT, change, set, state } from "./state.js";

let rows = [];
let targetRows = [];

export function start() {
  for (const field of ["smoothing", "focal"]) {
    $(field).addEventListener("input", (event) => change({ [field]: event.target.valueAsNumber }));
  }
  for (const radio of $("target-kinds").querySelectorAll("input")) {
    radio.addEventListener("change", () => change({ soft: radio.value === "soft" ? softStart() : null }));
  }
}

// A soft target to begin with: most on the true class, the rest shared.
function softStart() {
  const others = state.names.length - 1;
  return state.names.map((_, index) => (index === state.target ? 0.7 : Number((0.3 / others).toPrecision(3))));
}

function makeRow(index) {
  const controls = logitControls(index, state.names[index]);
  const radio = el("input", { type: "radio", name: "truth", value: index });
  radio.addEventListener("change", () => change({ target: index }));
  const name = el("span", { class: "truth-name" });
  const p = el("span", { class: "out" });
  const y = el("span");
  const g = el("span", { class: "out" });
  const arrow = el("span", { class: "arrow", "aria-hidden": "true" });
  const spoken = el("span", { class: "sr" });
  const label = (content, node) => [el("span", { class: "cell-label", innerHTML: content }), node];
  const node = el(
    "div",
    { class: "push", role: "group" },
    el("label", { class: "at-truth" }, radio, name),
    el("span", { class: "at-slider" }, controls.slider),
    el("span", { class: "at-typed" }, controls.typed),
    el("span", { class: "at-p num" }, ...label("<i>p</i>", p)),
    el("span", { class: "at-y num" }, ...label("<i>y</i>", y)),
    el("span", { class: "at-g num" }, ...label("<i>p</i> − <i>y</i>", g)),
    el("span", { class: "at-arrow lane" }, arrow, spoken),
  );
  return { node, radio, name, controls, p, y, g, arrow, spoken };
}

export function draw(now, numbers) {
  const { names } = now;
  if (rows.length !== names.length) {
    rows = names.map((_, index) => makeRow(index));
    $("pushes").replaceChildren(...rows.map((row) => row.node));
  }
  drawLoss(now, numbers);
  drawPushes(now, numbers);
  drawKnobs(now);
  drawLines(now, numbers);
  drawMistake(now, numbers);
  drawCurve(now, numbers);
}

function drawLoss({ temperature }, { loss, refusal }) {
  text($("loss"), nats(loss));
  text($("loss-bits"), nats(loss / Math.LN2));
  text($("loss-perplexity"), short(Math.exp(loss)));
  const error = $("loss-error");
  error.hidden = !refusal;
  text(error, refusal ? `The crate refuses this: ${refusal}` : "");
  const warm = $("loss-temperature");
  warm.hidden = temperature === 1;
  text(warm, `At the temperature T = ${plain(temperature)} of part 1: the loss is that of z/T, and the gradient is divided by T.`);
}

function drawPushes({ names, logits, target, soft }, { probs, shares, dlogits }) {
  const range = sliderRange(logits);
  const size = Math.max(0.5, ...dlogits.map(Math.abs).filter(Number.isFinite));
  rows.forEach((row, index) => {
    const g = dlogits[index];
    row.node.setAttribute("aria-label", names[index]);
    row.radio.checked = index === target;
    row.node.classList.toggle("true", !soft && index === target);
    text(row.name, names[index]);
    row.controls.draw(logits[index], range, names[index]);
    text(row.p, prob(probs[index]));
    text(row.y, share(shares[index]));
    text(row.g, signed(g));
    const length = Number.isFinite(g) ? Math.abs(g) / size : 0;
    row.arrow.style.setProperty("--length", length);
    row.arrow.className = `arrow ${length < 0.0005 ? "none" : g < 0 ? "up" : "down"}`;
    text(row.spoken, length < 0.0005 ? "not pushed" : g < 0 ? "pushed up" : "pushed down");
  });
  text($("target-legend"), soft ? "How the gradient pushes each logit" : "The true class, and how the gradient pushes each logit");
  for (const row of rows) row.radio.disabled = Boolean(soft);
  const { temperature, focal, weights } = state;
  const whole = Math.abs(shares.reduce((sum, part) => sum + part, 0) - 1) < 1e-5;
  const isPlain = temperature === 1 && (focal === 0 || soft) && whole && weights.every((weight) => weight === 1);
  const name = isPlain ? "<i>p</i> − <i>y</i>" : "gradient";
  for (const label of [$("gradient-name"), ...document.querySelectorAll(".push .at-g .cell-label")]) {
    if (label.innerHTML !== name) label.innerHTML = name;
  }
}

const signed = (value) => (value > 0 && Number(value.toFixed(4)) !== 0 ? `+${fixed(value, 4)}` : fixed(value, 4));

function drawKnobs({ names, soft, weights, smoothing, focal }) {
  slide($("smoothing"), smoothing);
  text($("smoothing-value"), fixed(smoothing, 2));
  slide($("focal"), focal);
  $("focal").disabled = Boolean(soft);
  text($("focal-value"), soft ? "off" : fixed(focal, 1));
  for (const radio of $("target-kinds").querySelectorAll("input")) radio.checked = (radio.value === "soft") === Boolean(soft);

  if (targetRows.length !== names.length) {
    targetRows = names.map((_, index) => makeTargetRow(index));
    const head = el("div", { class: "target-row head", "aria-hidden": "true" }, el("span"), el("span", { textContent: "share" }), el("span", { textContent: "weight" }));
    $("targets").replaceChildren(head, ...targetRows.map((row) => row.node));
  }
  targetRows.forEach((row, index) => {
    text(row.name, names[index]);
    row.share.setAttribute("aria-label", `share of ${names[index]} in the target`);
    row.weight.setAttribute("aria-label", `weight of ${names[index]}`);
    row.share.disabled = !soft;
    show(row.share, soft ? plain(soft[index]) : index === state.target ? "1" : "0");
    show(row.weight, plain(weights[index]));
  });
  const sum = soft ? soft.reduce((total, part) => total + part, 0) : 1;
  const note = Math.abs(sum - 1) < 0.005 ? "The shares sum to 1." : `The shares sum to ${fixed(sum, 2)}, not to 1: this is allowed, and the loss grows with their sum.`;
  text($("soft-sum"), soft ? note : "One class has the whole target. Choose it above.");
}

function makeTargetRow(index) {
  const field = (max, list) => {
    const input = el("input", { type: "number", min: 0, max, step: "any" });
    onTyped(input, { low: 0, high: max }, (value) => set(list, index, value), () => state[list]?.[index]);
    return input;
  };
  const name = el("span", { class: "versus-name" });
  const ofTarget = field(1, "soft");
  const weight = field(MAX_WEIGHT, "weights");
  return { node: el("div", { class: "target-row" }, name, ofTarget, weight), name, share: ofTarget, weight };
}

// The calculation, as a list of lines: what is computed, and what comes out.
function drawLines(now, numbers) {
  const { names, target, soft, weights, smoothing, focal, temperature } = now;
  const { probs, nlls, coefficients, loss, focus } = numbers;
  const lines = [];
  const isFocal = focal > 0 && !soft;
  const isPlain = !soft && smoothing === 0 && !isFocal && weights[target] === 1;
  if (isPlain) {
    const y = isolated(names[target]);
    const { exponentials, sum } = numbers;
    const division = `p(${y}) = ${exponential(exponentials[target])} ÷ ${exponential(sum)}`;
    lines.push(["the probability of the true class", Number.isFinite(sum) ? division : `p(${y})`, prob(probs[target])]);
    lines.push(["its natural logarithm", `ln ${written(probs[target])}`, fixed(-nlls[target], 4)]);
    lines.push(["with the sign turned, in nats", "loss", nats(loss), "result"]);
    const z = temperature === 1 ? "z" : "z/T";
    lines.push(["the same without p, so that nothing can underflow", `ln Σ e^{${z}} − ${z}(${y}) = ${fixed(numbers.lse, 4)} − ${signedLogit(now)}`, nats(loss)]);
  } else {
    if (isFocal) lines.push(["focal factor of the true class", `(1 − ${prob(probs[target])})^{${plain(focal)}}`, short(focus)]);
    lines.push([soft ? "the factor of each class" : `the factor of each class; the target is 1 for ${isolated(names[target])}, else 0`, factor(now, isFocal), ""]);
    names.forEach((name, index) => {
      const [factor, nll] = [coefficients[index], nlls[index]];
      if (factor !== 0) lines.push([`${isolated(name)}: its factor times −ln ${written(probs[index])}`, `${share(factor)} · ${fixed(nll, 4)}`, fixed(factor * nll, 4)]);
    });
    lines.push(["their sum, in nats", "loss", nats(loss), "result"]);
  }
  const list = $("lines");
  while (list.children.length > lines.length) list.lastChild.remove();
  while (list.children.length < lines.length) {
    list.append(el("li", {}, el("span", { class: "why" }), el("span", { class: "what num" }), el("span", { class: "value num" })));
  }
  lines.forEach((line, at) => {
    const cells = list.children[at].children;
    text(cells[0], line[0]);
    rich(cells[1], line[2] ? `${line[1]} =` : line[1]);
    text(cells[2], line[2]);
    list.children[at].classList.toggle("result", line[3] === "result");
    list.children[at].classList.toggle("long", !line[2]);
  });
}

// A probability in a formula. One that has underflowed to 0 has a logarithm all the same.
const written = (p) => (p === 0 ? "p" : prob(p));

// z/T of the true class, as it is subtracted.
function signedLogit({ logits, target, temperature }) {
  const value = logits[target] / temperature;
  return value < 0 ? `(${fixed(value, 4)})` : fixed(value, 4);
}

// How the factor of a class comes about, with the numbers of the knobs.
function factor({ names, weights, smoothing }, isFocal) {
  const own = [smoothing > 0 ? fixed(1 - smoothing, 2) : "", "target"];
  if (isFocal) own.push("focal factor");
  const product = own.filter(Boolean).join(" · ");
  const spread = smoothing > 0 ? `${product} + ${fixed(smoothing, 2)} ÷ ${names.length}` : product;
  const isWeighted = weights.some((weight) => weight !== 1);
  return isWeighted ? `(${spread}) · class weight` : spread;
}

function drawMistake(_, { once, twice, twiceBest }) {
  text($("once"), fixed(once, 4));
  text($("twice"), fixed(twice, 4));
  text($("twice-best"), fixed(twiceBest, 4));
}
