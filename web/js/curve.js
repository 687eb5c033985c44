// The curve of the loss against the probability of the true class, with the point of the present state on it.

import { $, svg, text } from "./dom.js";
import { fixed, isolated, plain, prob, short } from "./format.js";
import { curve } from "./numbers.js";

const LEFT = 40, RIGHT = 425, TOP = 14, BOTTOM = 240, HIGHEST = 6;
const x = (p) => LEFT + p * (RIGHT - LEFT);
const y = (loss) => BOTTOM - (Math.min(loss, HIGHEST) / HIGHEST) * (BOTTOM - TOP);
// Closer together where the curve is steep.
const PROBS = Array.from({ length: 90 }, (_, index) => 0.0024 + 0.9975 * (index / 90) ** 2);

let parts = null;

function build() {
  const axes = svg("g", { class: "axes" });
  for (const loss of [0, 2, 4, 6]) {
    axes.append(svg("line", { x1: LEFT, x2: RIGHT, y1: y(loss), y2: y(loss), class: loss ? "grid" : "axis" }));
    axes.append(svg("text", { x: LEFT - 8, y: y(loss) + 4, "text-anchor": "end" }, String(loss)));
  }
  for (const p of [0, 0.25, 0.5, 0.75, 1]) {
    axes.append(svg("text", { x: x(p), y: BOTTOM + 18, "text-anchor": "middle" }, String(p)));
  }
  axes.append(svg("text", { x: (LEFT + RIGHT) / 2, y: BOTTOM + 36, "text-anchor": "middle" }, "probability p"));
  const middle = (TOP + BOTTOM) / 2;
  axes.append(svg("text", { x: 14, y: middle, "text-anchor": "middle", transform: `rotate(-90 14 ${middle})` }, "loss"));
  const line = svg("path", { class: "line", d: path(curve(PROBS, 0)) });
  const focal = svg("path", { class: "line focal", d: "" });
  const points = svg("g", { class: "points" });
  $("curve").replaceChildren(axes, line, focal, points);
  parts = { focal, points, gamma: 0 };
}

function path(losses) {
  return losses.map((loss, index) => `${index ? "L" : "M"}${x(PROBS[index]).toFixed(1)} ${y(loss).toFixed(1)}`).join("");
}

// Removes labels that would cover an earlier one: that of the class with the larger share stays.
function thinOut(labels) {
  const kept = [];
  for (const label of labels) {
    const { x, y, width, height } = label.getBBox();
    if (kept.some((box) => x < box.x + box.width && box.x < x + width && y < box.y + box.height && box.y < y + height)) label.remove();
    else kept.push({ x, y, width, height });
  }
}

export function drawCurve({ names, target, soft, focal }, { probs, nlls, shares, focus }) {
  if (!parts) build();
  const gamma = soft ? 0 : focal;
  if (gamma !== parts.gamma) {
    parts.gamma = gamma;
    parts.focal.setAttribute("d", gamma > 0 ? path(curve(PROBS, gamma)) : "");
  }
  const shown = names.map((_, index) => index).filter((index) => (soft ? shares[index] > 0 : index === target));
  shown.sort((a, b) => shares[b] - shares[a]);
  const points = shown.flatMap((index) => {
    const height = Number.isFinite(nlls[index]) ? nlls[index] : HIGHEST;
    const place = { cx: x(probs[index]), cy: y(height * (soft ? 1 : focus)) };
    const size = soft ? 3 + 5 * Math.sqrt(Math.min(1, shares[index])) : 7;
    // Above and to the right of the point there is no curve. Near the edge, the label ends there, a little higher.
    const isRight = probs[index] > 0.7;
    const at = { x: isRight ? RIGHT : place.cx + 12, y: Math.max(TOP + 16, place.cy - (isRight ? 26 : 12)) };
    const drop = svg("line", { x1: place.cx, x2: place.cx, y1: place.cy, y2: BOTTOM, class: "drop" });
    const words = soft ? names[index] : `${isolated(names[target])}: ${fixed(height * focus, 4)}`;
    const label = svg("text", { ...at, "text-anchor": isRight ? "end" : "start" }, words);
    return [drop, svg("circle", { ...place, r: size }), label];
  });
  parts.points.replaceChildren(...points);
  thinOut(parts.points.querySelectorAll("text"));
  $("curve").setAttribute(
    "aria-label",
    `The curve −ln p, which falls from infinity at p = 0 to 0 at p = 1. ${shown.map((index) => `${isolated(names[index])}: p = ${prob(probs[index])}, −ln p = ${fixed(nlls[index], 4)}`).join("; ")}.`,
  );
  const above = shown.some((index) => nlls[index] > HIGHEST);
  const note = gamma > 0 ? `Dashed: the focal loss with γ = ${plain(gamma)}, on which the point lies. ` : "";
  text($("curve-note"), `${note}${above ? `${shown.length > 1 ? "The highest point" : "The point"} is above the picture, at ${short(Math.max(...shown.map((index) => nlls[index])))}.` : "Sure and wrong costs without limit; sure and right costs nothing."}`);
}
