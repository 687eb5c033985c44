// Two bars for each class, beside their figures.

import { el, text } from "./dom.js";

const bar = (kind) => el("span", { class: "track" }, el("span", { class: `fill ${kind}` }));
const figure = () => el("span", { class: "num", "aria-hidden": "true" });

const makeRow = () =>
  el(
    "div",
    { class: "versus-row", role: "listitem" },
    el("span", { class: "versus-name" }),
    bar(""),
    figure(),
    bar("other"),
    figure(),
    el("span", { class: "sr" }),
  );

// Shows a row for each name. `rowOf` gives its two parts of 1, their figures as texts, and the words for a screen reader.
export function drawBars(list, names, rowOf) {
  if (list.children.length !== names.length) list.replaceChildren(...names.map(makeRow));
  names.forEach((name, index) => {
    const { parts, figures, spoken, isFaint = false } = rowOf(index);
    const row = list.children[index];
    const [label, first, p, second, s, words] = row.children;
    text(label, name);
    first.firstChild.style.setProperty("--part", parts[0]);
    second.firstChild.style.setProperty("--part", parts[1]);
    text(p, figures[0]);
    text(s, figures[1]);
    text(words, spoken);
    row.classList.toggle("faint", isFaint);
  });
}
