// Starts the page: loads the crate, reads the address, draws the parts.

import init from "../wasm/xent_web.js";
import { $, text } from "./dom.js";
import { fixed, isolated, percent } from "./format.js";
import { address, read, remember, reset, subscribe } from "./state.js";
import * as softmaxPart from "./softmax.js";
import * as samplingPart from "./sampling.js";
import * as lossPart from "./loss.js";
import * as learnPart from "./learn.js";
import * as gpuPart from "./gpu.js";
import { numbersOf } from "./numbers.js";

function start() {
  const parts = [softmaxPart, samplingPart, lossPart, learnPart, gpuPart];
  for (const part of parts) part.start();
  subscribe((now) => {
    const numbers = numbersOf(now);
    for (const part of parts) part.draw(now, numbers);
    summarise(now, numbers);
  });

  $("reset").addEventListener("click", reset);
  $("copy-link").addEventListener("click", copyLink);
  window.addEventListener("hashchange", () => {
    if (location.hash.includes("=")) read(location.hash);
    // A link to a part has taken the place of the state.
    else remember();
  });
  read(location.hash);
}

async function copyLink() {
  const link = `${location.href.split("#")[0]}#${address()}`;
  try {
    await navigator.clipboard.writeText(link);
    text($("copied"), "Copied.");
  } catch {
    text($("copied"), "Copy it from the address bar.");
  }
  setTimeout(() => text($("copied"), ""), 4000);
}

let timer = 0;
let isFirst = true;

// What a screen reader is told, once the user has paused.
function summarise({ names, target, soft }, { probs, loss }) {
  clearTimeout(timer);
  if (isFirst) {
    isFirst = false;
    return;
  }
  timer = setTimeout(() => {
    const order = probs.map((p, index) => [p, index]).sort(([a], [b]) => b - a);
    const leaders = order.slice(0, 4).map(([p, index]) => `${isolated(names[index])} ${percent(p)}`);
    const against = soft ? "against the soft target" : `for ${isolated(names[target])}`;
    text($("summary"), `${leaders.join(", ")}. Loss ${against} ${fixed(loss, 3)}.`);
  }, 900);
}

init().then(start, (error) => {
  $("broken").hidden = false;
  throw error;
});
