// Sampling: draws beside the exact probabilities. The draws are a function of the state, so they follow every control, and a link
// opens the same. The reference makes them; the GPU, where there is one, can make the same.

import { drawBars } from "./bars.js";
import { $, onTyped, show, slide, text } from "./dom.js";
import { fixed, integer, isolated, percent, plain, prob } from "./format.js";
import { isBusy, work } from "./gpu-work.js";
import { temperatureSlider } from "./softmax.js";
import { MAX_DRAWS, MAX_SEED, change, state } from "./state.js";

// What the GPU was last asked to draw.
let asked = "";
let drawTemperature = null;
const question = ({ logits, seed, temperature, topK, topP, draws }) => JSON.stringify({ logits, seed, temperature, topK, topP, draws });

export function start() {
  $("top-k").addEventListener("input", (event) => {
    const k = event.target.valueAsNumber;
    change({ topK: k < state.names.length ? k : 0 });
  });
  $("top-p").addEventListener("input", (event) => change({ topP: event.target.valueAsNumber }));
  drawTemperature = temperatureSlider($("sample-temperature"));
  $("seed").max = MAX_SEED;
  onTyped($("seed"), { low: 0, high: MAX_SEED, isWhole: true }, (seed) => change({ seed }), () => state.seed, String);
  for (const button of $("draw-buttons").querySelectorAll("[value]")) {
    button.addEventListener("click", () => change({ draws: Math.min(state.draws + Number(button.value), MAX_DRAWS) }));
  }
  $("draw-clear").addEventListener("click", () => change({ draws: 0 }));
  $("sample-run").addEventListener("click", drawOnGpu);
}

export function draw(now, { sampling: { probs, counts } }) {
  const { names, temperature, topK, topP, seed, draws } = now;
  const keep = topK === 0 ? names.length : Math.min(topK, names.length);
  $("top-k").max = names.length;
  slide($("top-k"), keep);
  const kept = keep === names.length ? `all ${keep}` : integer(keep);
  $("top-k").setAttribute("aria-valuetext", kept);
  text($("top-k-value"), kept);
  slide($("top-p"), topP);
  $("top-p").setAttribute("aria-valuetext", fixed(topP, 2));
  text($("top-p-value"), fixed(topP, 2));
  show($("seed"), String(seed));
  drawTemperature(temperature);
  text($("sample-temperature-value"), plain(temperature));

  const left = probs.filter((p) => !Number.isNaN(p)).length;
  text($("sample-left"), `${left} of ${names.length}`);
  const shareOf = (index) => (draws === 0 ? 0 : counts[index] / draws);
  drawBars($("samples"), names, (index) => {
    const isOut = Number.isNaN(probs[index]);
    const figures = [isOut ? "left out" : prob(probs[index]), draws === 0 ? "–" : `${fixed(shareOf(index))} (${integer(counts[index])})`];
    const drawn = draws === 0 ? "nothing drawn yet" : `drawn ${integer(counts[index])} times, a share of ${fixed(shareOf(index))}`;
    const spoken = `${isOut ? "left out" : `probability ${figures[0]}`}, ${drawn}`;
    return { parts: [isOut ? 0 : probs[index], shareOf(index)], figures, spoken, isFaint: isOut };
  });
  drawDifference(names, probs, shareOf, draws);

  for (const button of $("draw-buttons").querySelectorAll("[value]")) button.disabled = draws >= MAX_DRAWS;
  $("draw-clear").disabled = draws === 0;
  const most = draws >= MAX_DRAWS ? ", the most here" : "";
  text($("draw-status"), draws === 0 ? "" : `${integer(draws)} ${draws === 1 ? "draw" : "draws"}${most}.`);
  $("sample-run").disabled = draws === 0 || isBusy();
  // What it drew is of another state now.
  if (!isBusy() && asked !== question(now)) tell("");
}

// How far the shares are from the probabilities, beside the standard deviation of a share: √(p(1 − p)/n).
function drawDifference(names, probs, shareOf, draws) {
  const exact = probs.map((p) => (Number.isNaN(p) ? 0 : p));
  const distances = exact.map((p, index) => Math.abs(shareOf(index) - p));
  const worst = distances.indexOf(Math.max(...distances));
  const deviation = Math.sqrt((exact[worst] * (1 - exact[worst])) / draws);
  text($("sample-difference"), draws === 0 ? "–" : `${fixed(distances[worst])}, for ${isolated(names[worst])}`);
  text($("sample-deviation"), draws === 0 ? "–" : fixed(deviation));
}

function tell(words) {
  const verdict = $("sample-verdict");
  verdict.hidden = words === "";
  text(verdict, words);
  if (words === "") text($("sample-status"), "");
}

function drawOnGpu() {
  const { logits, seed, temperature, topK, topP, draws, names } = state;
  tell("");
  asked = question(state);
  work({ sample: { logits, seed, temperature, topK, topP, draws } }, $("sample-status"), ({ counts, differing, adapter }) => {
    if (asked !== question(state)) return tell("");
    const drawn = counts.map((count, index) => `${isolated(names[index])} ${integer(count)}`).join(", ");
    // A probability may be off by 2e-5 of itself, so a random number may fall between two classes' borders.
    const isRight = differing <= Math.max(2, draws / 1000);
    $("sample-verdict").classList.toggle("bad", !isRight);
    const alike = differing === 0 ? "every draw is the reference’s" : `${integer(differing)} draws (${percent(differing / draws)}) differ from the reference’s`;
    tell(`${isRight ? "✓" : "✗"} Drawn on this GPU (${adapter}): ${drawn}; ${alike}.${isRight ? "" : " Please report this adapter."}`);
  });
}
