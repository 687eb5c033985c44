// The third part: the crate on the visitor's GPU, and checks of it.

import { $, el, text } from "./dom.js";
import { fixed, integer, scientific, short, si } from "./format.js";
import { isBusy, work } from "./gpu-work.js";
import { COLS, MAX_LOGITS, ROWS, change, state } from "./state.js";

export function start() {
  for (const [id, values] of [["rows", ROWS], ["cols", COLS]]) {
    $(id).replaceChildren(...values.map((value) => el("option", { value, textContent: integer(value) })));
    $(id).addEventListener("change", (event) => change({ [id]: Number(event.target.value) }));
  }
  $("gpu-run").addEventListener("click", run);
  $("checks-run").addEventListener("click", check);
  findAdapter();
}

// Why nothing can run on a GPU here, and what to do.
const NO_WEBGPU =
  "This browser has no WebGPU. Chrome and Edge have it from version 113 (on Android 121), Safari from 26, and Firefox from 141 on Windows and 145 on Macs.";
const NOT_SECURE = "Browsers offer WebGPU only to pages from https or from localhost. Open this page that way.";
const NO_ADAPTER =
  "This browser has WebGPU, but offers no GPU to it. Perhaps hardware acceleration is off in its settings, or it does not trust this GPU’s driver: chrome://gpu or about:support says which. In Chrome on Linux, try chrome://flags/#enable-unsafe-webgpu.";

async function findAdapter() {
  if (!navigator.gpu) return absent(window.isSecureContext ? NO_WEBGPU : NOT_SECURE);
  const adapter = await navigator.gpu.requestAdapter().catch(() => null);
  if (!adapter) absent(NO_ADAPTER);
}

function absent(why) {
  for (const id of ["gpu-bench", "checks", "sample-gpu"]) $(id).hidden = true;
  $("gpu-absent").hidden = false;
  text($("gpu-absent"), `${why} Without it, the loss of a batch cannot be computed here. Everything else on this page needs no GPU.`);
}

export function draw({ rows, cols }) {
  $("rows").value = rows;
  $("cols").value = cols;
  const logits = rows * cols;
  const isTooLarge = logits > MAX_LOGITS;
  const size = `${integer(rows)} × ${integer(cols)} = ${si(logits)} logits`;
  text($("gpu-size"), isTooLarge ? `${size}: too many. At most ${integer(MAX_LOGITS)} fit.` : `${size}, ${si(4 * logits, "B")} in f32.`);
  $("gpu-size").classList.toggle("bad", isTooLarge);
  $("gpu-run").disabled = isTooLarge || isBusy();
  $("checks-run").disabled = isBusy();
}

function run() {
  const { rows, cols } = state;
  $("gpu-result").hidden = true;
  // The same batch for everybody, so that two visitors can compare their losses.
  work({ rows, cols, seed: 1 }, $("gpu-status"), report);
}

function check() {
  $("checks-result").hidden = true;
  work({ checks: true }, $("checks-status"), reportChecks);
}

function report({ answer, times, adapter, rows }) {
  const verdict = $("gpu-verdict");
  verdict.classList.toggle("bad", !answer.passed);
  const checked = `${integer(answer.rowsChecked)} of ${integer(rows)} rows, with all their gradient values, against the reference in f64`;
  text(verdict, answer.passed ? `✓ Within bounds: checked ${checked}.` : `✗ Out of bounds: checked ${checked}. Please report this adapter.`);
  text($("gpu-loss"), `${fixed(answer.loss, 4)} nats`);
  text($("gpu-loss-error"), answer.lossError === 0 ? "0" : `${scientific(answer.lossError, 1)} nats`);
  text($("gpu-gradient-error"), answer.gradientError === 0 ? "0" : scientific(answer.gradientError, 1));
  text($("gpu-adapter"), adapter);
  const line = ({ name, ms, logits, bytes }) =>
    el(
      "tr",
      {},
      el("th", { scope: "row", textContent: name }),
      el("td", { textContent: `${short(ms, 3)} ms` }),
      el("td", { textContent: si((1000 * logits) / ms) }),
      el("td", { textContent: `${si((1000 * bytes) / ms, "B")}/s` }),
    );
  $("gpu-times").tBodies[0].replaceChildren(...times.map(line));
  const timed = times[0].logits / state.cols;
  const isPart = times[0].logits < rows * state.cols;
  text(
    $("gpu-part"),
    `Medians. A loss reads the logits once; with the gradient they are read twice and written once, all of which counts as moved.${isPart ? ` Timed on the first ${integer(timed)} rows, as many as fit into one binding of this device.` : ""}`,
  );
  $("gpu-result").hidden = false;
}

const QUANTITIES = ["loss", "gradient", "softmax"];
const named = (logits) => logits.replaceAll("-", "−");

function reportChecks({ quantities, cases, failures }) {
  const wrong = failures.map((failure, index) => failure && `${named(cases[index])}, ${quantities[index]}, ${failure}`).filter(Boolean);
  const total = integer(cases.length);
  const verdict = $("checks-verdict");
  verdict.classList.toggle("bad", wrong.length > 0);
  text(
    verdict,
    wrong.length ? `✗ ${integer(wrong.length)} of ${total} checks failed. Please report this adapter.` : `✓ All ${total} checks passed.`,
  );
  $("checks-failures").replaceChildren(...wrong.slice(0, 10).map((line) => el("li", { textContent: line })));
  // A case and a quantity are right if they are so in every type and shape, both ways.
  const cell = (of, quantity) => {
    const all = failures.filter((_, index) => cases[index] === of && quantities[index] === quantity);
    const isRight = all.every((failure) => !failure);
    const [sign, words] = all.length === 0 ? ["–", "not checked"] : isRight ? ["✓", "right"] : ["✗", "wrong"];
    return el("td", { class: isRight ? "" : "wrong" }, el("span", { "aria-hidden": "true", textContent: sign }), el("span", { class: "sr", textContent: words }));
  };
  const line = (of) => el("tr", {}, el("th", { scope: "row", textContent: named(of) }), ...QUANTITIES.map((quantity) => cell(of, quantity)));
  $("checks-table").tBodies[0].replaceChildren(...[...new Set(cases)].map(line));
  $("checks-result").hidden = false;
}
