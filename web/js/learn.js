// Gradient steps on the logits, one at a time or until the loss is small.

import { $, slide, svg, text } from "./dom.js";
import { integer, nats, plain, short } from "./format.js";
import { gradientStep, lossOf } from "./numbers.js";
import { change, state } from "./state.js";

const GOAL = 0.01;
const MOST_STEPS = 2000;
const FLAT = 1e-4;
const LEFT = 64, RIGHT = 425, TOP = 12, BOTTOM = 118;

// The losses since the logits were last moved by hand, and where they started.
let history = [];
let startLogits = null;
let moved = null;
let running = 0;
let ending = "";

export function start() {
  $("rate").addEventListener("input", (event) => change({ rate: rateAt(event.target.valueAsNumber) }));
  $("step").addEventListener("click", () => {
    stop("");
    step();
  });
  $("run-steps").addEventListener("click", () => (running ? stop("Stopped.") : run()));
  $("undo-steps").addEventListener("click", () => {
    stop("");
    const logits = startLogits;
    if (logits) forget(logits);
  });
}

// From 0.1 to 10, with 1 in the middle.
const rateAt = (place) => Number((0.1 * 100 ** (place / 100)).toPrecision(2));
const placeOf = (rate) => Math.round((100 * Math.log(rate / 0.1)) / Math.log(100));

function step() {
  const { loss, dlogits, refusal } = lossOf(state);
  if (refusal || !Number.isFinite(loss)) return stop("There is no gradient to follow here.");
  if (history.length === 0) {
    startLogits = state.logits;
    history = [loss];
  }
  moved = gradientStep(state.logits, dlogits, state.rate);
  history.push(lossOf({ ...state, logits: moved }).loss);
  change({ logits: moved });
}

function run() {
  ending = "";
  const isCalm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  const tick = () => {
    // Without animation: as many steps as are needed, then one picture.
    for (let count = 0; count < (isCalm ? MOST_STEPS : 1) && !reason(); count += 1) step();
    if (reason()) return stop(reason());
    running = requestAnimationFrame(tick);
  };
  running = requestAnimationFrame(tick);
  change({});
}

// Why a run ends, if it does.
function reason() {
  const { loss, dlogits, refusal } = lossOf(state);
  if (refusal || !Number.isFinite(loss)) return "There is no gradient to follow here.";
  if (loss < GOAL) return `Reached: the loss is below ${GOAL}.`;
  const steepest = Math.max(...dlogits.map(Math.abs));
  if (steepest < FLAT) return "The gradient is almost 0: with this target, the loss cannot fall further.";
  if (history.length > MOST_STEPS) return `Stopped after ${integer(MOST_STEPS)} steps.`;
  return "";
}

function stop(why) {
  cancelAnimationFrame(running);
  running = 0;
  ending = why;
  change({});
}

function forget(logits) {
  history = [];
  startLogits = null;
  moved = null;
  ending = "";
  change(logits ? { logits } : {});
}

export function draw({ logits, rate }, { loss }) {
  // Logits that were moved by hand start a new history.
  if (moved && logits !== moved) {
    if (running) cancelAnimationFrame(running);
    running = 0;
    forget(null);
  }
  slide($("rate"), placeOf(rate));
  $("rate").setAttribute("aria-valuetext", plain(rate));
  text($("rate-value"), plain(rate));
  text($("run-steps"), running ? "Stop" : `Run until the loss is below ${GOAL}`);
  $("undo-steps").disabled = history.length === 0;
  // The status is read aloud: not while it runs.
  if (!running) text($("steps-status"), status(loss));
  drawHistory(loss);
}

function status(loss) {
  const steps = Math.max(0, history.length - 1);
  if (steps === 0) return ending || "No step taken yet.";
  return `${integer(steps)} step${steps === 1 ? "" : "s"}: the loss went from ${nats(history[0])} to ${nats(loss)}. ${ending}`;
}

function drawHistory(loss) {
  const losses = history.length ? history : [loss];
  const highest = Math.max(...losses.filter(Number.isFinite), GOAL) * 1.1;
  const x = (at) => LEFT + (at / Math.max(10, losses.length - 1)) * (RIGHT - LEFT);
  const y = (value) => BOTTOM - (value / highest) * (BOTTOM - TOP);
  const finite = losses.map((value) => (Number.isFinite(value) ? value : highest));
  const d = finite.map((value, at) => `${at ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const last = finite.length - 1;
  const steps = Math.max(10, last);
  $("history").replaceChildren(
    svg("line", { x1: LEFT, x2: RIGHT, y1: BOTTOM, y2: BOTTOM, class: "axis" }),
    svg("line", { x1: LEFT, x2: RIGHT, y1: y(GOAL), y2: y(GOAL), class: "goal" }),
    svg("text", { x: LEFT - 8, y: BOTTOM + 4, "text-anchor": "end" }, "0"),
    svg("text", { x: LEFT - 8, y: TOP + 14, "text-anchor": "end" }, short(highest / 1.1, 3)),
    svg("text", { x: LEFT, y: BOTTOM + 20, "text-anchor": "middle" }, "0"),
    svg("text", { x: RIGHT, y: BOTTOM + 20, "text-anchor": "end" }, `${integer(steps)} steps`),
    svg("path", { class: "line", d }),
    svg("circle", { cx: x(last), cy: y(finite[last]), r: 5 }),
  );
  $("history").setAttribute("aria-label", `The loss after each of ${last} steps, from ${nats(losses[0])} to ${nats(losses[last])}.`);
}
