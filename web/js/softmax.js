// The first part: logits, exponentials, probabilities, and what follows from the formula.

import { drawBars } from "./bars.js";
import { $, el, onTyped, rich, show, slide, text } from "./dom.js";
import { exponential, fixed, integer, isolated, logit as written, plain, prob, scientific, short } from "./format.js";
import { plainSoftmax, sigmoid, softmax } from "./numbers.js";
import { LONGEST_NAME, MAX_CLASSES, MAX_TEMPERATURE, MIN_CLASSES, MIN_TEMPERATURE, addClass, asLogit, asName, change, removeClass, set, state } from "./state.js";

let rows = [];
let drawSlider = null;

export function start() {
  $("add-class").addEventListener("click", () => {
    addClass();
    requestAnimationFrame(() => rows.at(-1)?.name.focus());
  });
  $("add-ten").addEventListener("click", () => shift(10));
  $("subtract-ten").addEventListener("click", () => shift(-10));
  drawSlider = temperatureSlider($("temperature"));
  const range = { low: MIN_TEMPERATURE, high: MAX_TEMPERATURE };
  onTyped($("temperature-value"), range, (temperature) => change({ temperature }), () => state.temperature);
  for (const radio of $("scales").querySelectorAll("input")) {
    radio.addEventListener("change", () => change({ scale: Number(radio.value) }));
  }
  for (const [id, at] of [["pair-a", 0], ["pair-b", 1]]) {
    $(id).addEventListener("change", (event) => choosePair(at, Number(event.target.value)));
  }
}

function shift(by) {
  change({ logits: state.logits.map((logit) => asLogit(logit + by)), offset: state.offset + by });
}

// T from 0.05 to 20 along a logarithmic slider, with 1 in the middle. Gives the function that draws the slider.
export function temperatureSlider(slider) {
  const [low, span] = [MIN_TEMPERATURE, MAX_TEMPERATURE / MIN_TEMPERATURE];
  slider.addEventListener("input", () => change({ temperature: Number((low * span ** (slider.value / slider.max)).toPrecision(3)) }));
  return (temperature) => {
    slide(slider, Math.round((slider.max * Math.log(temperature / low)) / Math.log(span)));
    slider.setAttribute("aria-valuetext", `T = ${plain(temperature)}`);
  };
}

function choosePair(at, chosen) {
  const pair = [...state.pair];
  if (pair[1 - at] === chosen) pair[1 - at] = pair[at];
  pair[at] = chosen;
  change({ pair });
}

// The range of all sliders of logits: ±10, or more if a logit is beyond.
export function sliderRange(logits) {
  const size = Math.max(...logits.map(Math.abs));
  return size <= 10 ? 10 : 10 ** Math.ceil(Math.log10(size));
}

// A slider of one logit, and a field for its value.
export function logitControls(index, name) {
  const slider = el("input", { type: "range", class: "logit", "aria-label": `logit of ${name}` });
  const typed = el("input", { type: "number", step: "any", "aria-label": `logit of ${name}, typed` });
  slider.addEventListener("input", () => set("logits", index, asLogit(slider.valueAsNumber)));
  const use = (value) => set("logits", index, asLogit(value));
  onTyped(typed, { low: -Infinity, high: Infinity }, use, () => state.logits[index], shown);
  return {
    slider,
    typed,
    draw(logit, range, label) {
      slider.min = -range;
      slider.max = range;
      slider.step = range / 200;
      slide(slider, logit);
      show(typed, shown(logit));
      slider.setAttribute("aria-label", `logit of ${label}`);
      slider.setAttribute("aria-valuetext", fixed(logit, 2));
      typed.setAttribute("aria-label", `logit of ${label}, typed`);
    },
  };
}

// In a field: two digits after the point, or four if it has more.
function shown(logit) {
  if (Math.abs(logit) >= 1e6) return plain(logit);
  return logit.toFixed(Math.abs(logit * 100 - Math.round(logit * 100)) < 1e-3 ? 2 : 4);
}

function makeRow(index) {
  const controls = logitControls(index, state.names[index]);
  const name = el("input", { type: "text", class: "name", maxLength: LONGEST_NAME, spellcheck: false, autocomplete: "off", "aria-label": `name of class ${index + 1}` });
  name.addEventListener("input", () => set("names", index, asName(name.value, index)));
  name.addEventListener("blur", () => (name.value = state.names[index] ?? ""));
  const exp = el("span", { class: "out" });
  const dividend = el("span", { class: "dividend" });
  const divisor = el("span");
  const division = el("span", { class: "division" }, dividend, divisor);
  const p = el("span", { class: "p" });
  const bar = el("span", { class: "fill" });
  const remove = el("button", { type: "button", class: "remove", textContent: "×" });
  remove.addEventListener("click", () => {
    removeClass(index);
    requestAnimationFrame(() => (rows[Math.min(index, rows.length - 1)] ?? rows[0]).name.focus());
  });
  const node = el(
    "div",
    { class: "ledger-row", role: "group" },
    el("span", { class: "at-name" }, name),
    el("span", { class: "at-slider" }, controls.slider),
    el("span", { class: "at-typed" }, controls.typed),
    el("span", { class: "at-exp num" }, el("span", { class: "cell-label", innerHTML: "<i>e</i><sup><i>z</i></sup> =" }), exp),
    el("span", { class: "at-prob" }, el("span", { class: "quotient num" }, division, p), el("span", { class: "track" }, bar)),
    el("span", { class: "at-remove" }, remove),
  );
  return { node, name, controls, exp, dividend, divisor, p, bar, remove };
}

export function draw(now, numbers) {
  const { names } = now;
  if (rows.length !== names.length) {
    rows = names.map((_, index) => makeRow(index));
    $("classes").replaceChildren(...rows.map((row) => row.node));
  }
  drawLedger(now, numbers);
  drawTemperature(now, numbers);
  drawShift(now, numbers);
  drawPair(now);
  drawOverflow(now);
  drawVersus(now, numbers);
}

function drawLedger({ names, logits, temperature }, { probs, exponentials, sum, argmax }) {
  const range = sliderRange(logits);
  rows.forEach((row, index) => {
    const name = names[index];
    row.node.setAttribute("aria-label", name);
    show(row.name, name);
    row.controls.draw(logits[index], range, name);
    text(row.exp, exponential(exponentials[index]));
    // ∞ ÷ ∞ explains nothing.
    text(row.dividend, Number.isFinite(sum) ? `${exponential(exponentials[index])} ` : "");
    text(row.divisor, Number.isFinite(sum) ? `÷ ${exponential(sum)}\u2002=` : "");
    text(row.p, prob(probs[index]));
    row.bar.style.setProperty("--part", probs[index]);
    row.node.classList.toggle("leads", index === argmax);
    row.remove.setAttribute("aria-label", `remove ${name}`);
    row.remove.disabled = names.length <= MIN_CLASSES;
  });
  const exponent = temperature === 1 ? "<i>z</i>" : "<i>z</i>/<i>T</i>";
  for (const label of $("ledger").querySelectorAll("sup")) {
    if (label.innerHTML !== exponent) label.innerHTML = exponent;
  }
  text($("sum-exp"), exponential(sum));
  text($("sum-prob"), fixed(probs.reduce((total, p) => total + p, 0), 4));
  $("exp-overflow").hidden = Number.isFinite(sum);
  $("add-class").disabled = names.length >= MAX_CLASSES;
  text($("class-count"), `${names.length} classes, of 2 to 12. Names can be changed.`);
  text($("argmax"), `${isolated(names[argmax])}.`);
}

function drawTemperature({ names, temperature }) {
  drawSlider(temperature);
  show($("temperature-value"), plain(temperature));
  text($("uniform"), fixed(1 / names.length, 4));
}

function drawShift({ logits, temperature, offset }, { probs, sum }) {
  const before = logits.map((logit) => logit - offset);
  const change = Math.max(...softmax(before, temperature).map((p, index) => Math.abs(p - probs[index])));
  const factor = Math.exp(offset / temperature);
  text($("shift-added"), offset > 0 ? `+${integer(offset)}` : integer(offset).replace("-", "−"));
  text($("shift-factor"), `${exponential(sum)}${offset ? `, ${short(factor)} times as large` : ""}`);
  text($("shift-change"), change < 5e-8 ? "0" : scientific(change, 1));
}

function drawPair({ names, logits, pair }) {
  for (const [id, at] of [["pair-a", 0], ["pair-b", 1]]) {
    const select = $(id);
    if ([...select.options].map((option) => option.text).join() !== names.join()) {
      select.replaceChildren(...names.map((name, index) => el("option", { value: index, textContent: name })));
    }
    select.value = pair[at];
  }
  const [a, b] = pair.map((index) => logits[index]);
  const subtracted = b < 0 ? `(${written(b)})` : written(b);
  text($("pair-softmax-name"), `softmax of (${written(a)}, ${written(b)}) for ${isolated(names[pair[0]])}`);
  text($("pair-softmax"), prob(softmax([a, b])[0]));
  text($("pair-sigmoid-name"), `σ(${written(a)} − ${subtracted}) = σ(${written(a - b)})`);
  text($("pair-sigmoid"), prob(sigmoid(a - b)));
}

function drawOverflow({ names, logits, scale }) {
  for (const radio of $("scales").querySelectorAll("input")) radio.checked = Number(radio.value) === scale;
  const scaled = logits.map((logit) => Math.fround(logit * scale));
  const maximum = Math.max(...scaled);
  const naive = plainSoftmax(scaled, 0);
  const shifted = plainSoftmax(scaled, maximum);
  table($("naive"), names, [scaled, naive.exponentials, naive.probs]);
  table($("shifted"), names, [scaled.map((logit) => logit - maximum), shifted.exponentials, shifted.probs]);

  const broken = names.map(isolated).filter((_, index) => naive.exponentials[index] === Infinity);
  const verdict = $("overflow-verdict");
  verdict.classList.toggle("bad", broken.length > 0);
  const hasVanished = naive.exponentials.every((value) => value === 0);
  if (broken.length > 0) {
    rich(verdict, `As written, e^{z} is ∞ for ${broken.join(", ")}, and ∞ ÷ ∞ is not a number (NaN). With the maximum subtracted, every value is finite.`);
  } else if (hasVanished) {
    rich(verdict, "As written, every e^{z} is too small for f32 and becomes 0, and 0 ÷ 0 is not a number (NaN). With the maximum subtracted, the largest is 1.");
  } else {
    rich(verdict, "Nothing overflows here: both ways give the same probabilities.");
  }
}

function table(node, names, columns) {
  const body = node.tBodies[0];
  while (body.rows.length > names.length) body.deleteRow(-1);
  while (body.rows.length < names.length) {
    body.append(el("tr", {}, el("th", { scope: "row" }), el("td"), el("td"), el("td")));
  }
  names.forEach((name, index) => {
    const cells = body.rows[index].cells;
    text(cells[0], name);
    const figures = [written(columns[0][index]), exponential(columns[1][index]), prob(columns[2][index])];
    figures.forEach((value, at) => {
      text(cells[at + 1], value);
      cells[at + 1].classList.toggle("wrong", value === "∞" || value === "NaN");
    });
  });
}

function drawVersus({ names, temperature }, { probs, sigmoids }) {
  drawBars($("versus"), names, (index) => {
    const figures = [prob(probs[index]), prob(sigmoids[index])];
    return { parts: [probs[index], sigmoids[index]], figures, spoken: `softmax ${figures[0]}, sigmoid ${figures[1]}` };
  });
  $("versus-note").hidden = temperature === 1;
  text($("versus-note"), `Both are of z/T here, at the temperature T = ${plain(temperature)}.`);
  const sum = (values) => fixed(values.reduce((total, value) => total + value, 0), 4);
  text($("versus-softmax"), sum(probs));
  text($("versus-sigmoid"), sum(sigmoids));
}
