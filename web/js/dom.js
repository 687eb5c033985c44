// Small functions for the document.

import { plain } from "./format.js";

export const $ = (id) => document.getElementById(id);

// An element with properties and children. Keys with a dash, and `role`, are attributes; `class` is the class name.
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === false) continue;
    if (key === "class") node.className = value;
    else if (key.includes("-") || key === "role") node.setAttribute(key, value);
    else node[key] = value;
  }
  node.append(...children);
  return node;
}

// The same for SVG, where everything is an attribute.
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// Writes a text only if it has changed, so that live regions and selections are left alone.
export function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

// A control that the user is typing into keeps what was typed.
export function show(input, value) {
  if (document.activeElement !== input && input.value !== value) input.value = value;
}

// A field for a number. What is in range is used as it is typed; on leaving, what is not is brought there. `used` gives the number
// in use, or nothing if its class has gone, and `written` its text.
export function onTyped(input, { low, high, isWhole = false }, use, used, written = plain) {
  const near = (value) => Math.min(high, Math.max(low, isWhole ? Math.round(value) : value));
  input.addEventListener("input", () => {
    const value = input.valueAsNumber;
    if (near(value) === value) use(value);
  });
  input.addEventListener("blur", () => {
    const value = input.valueAsNumber;
    if (used() === undefined) return;
    if (!Number.isNaN(value) && near(value) !== value) use(near(value));
    input.value = written(used());
  });
}

// A range input; its filled part is drawn by the style sheet, from --filled.
export function slide(range, value) {
  range.value = value;
  const { min, max } = range;
  range.style.setProperty("--filled", `${((range.value - min) / (max - min)) * 100}%`);
}

// A text in which ^{…} is raised.
export function rich(node, value) {
  if (node.dataset.written === value) return;
  node.dataset.written = value;
  const parts = value.split(/\^\{(.*?)\}/);
  node.replaceChildren(...parts.map((part, index) => (index % 2 ? el("sup", { textContent: part }) : part)));
}
