// What the page shows, kept in its address, so that a link shows the same.

export const MIN_CLASSES = 2;
export const MAX_CLASSES = 12;
export const SPARE_NAMES = ["cat", "dog", "bird", "fish", "fox", "owl", "bee", "frog", "horse", "snail", "whale", "mouse"];
export const ROWS = [16, 64, 256, 1024, 4096];
export const COLS = [10, 100, 1000, 10000, 32000, 50257, 128256];
export const MIN_TEMPERATURE = 0.05;
export const MAX_TEMPERATURE = 20;
export const MAX_WEIGHT = 100;
export const MAX_DRAWS = 100_000;
export const MAX_SEED = 2 ** 32 - 1;
export const MAX_LOGITS = 64 * 2 ** 20;
const LARGEST = 1e30;
export const LONGEST_NAME = 16;

const defaults = () => ({
  names: ["cat", "dog", "bird", "fish"],
  logits: [2, 1, 0.5, -1],
  temperature: 1,
  // How many classes top-k keeps: 0 for all.
  topK: 0,
  topP: 1,
  seed: 1,
  draws: 0,
  scale: 1,
  pair: [0, 1],
  target: 0,
  soft: null,
  weights: [1, 1, 1, 1],
  smoothing: 0,
  focal: 0,
  rate: 1,
  // What "add 10 to all" has added. Not in the address: the logits are.
  offset: 0,
  rows: 256,
  cols: 10000,
});

export const state = defaults();
const listeners = [];
let frame = 0;

export const subscribe = (listener) => listeners.push(listener);

// Changes some fields, then draws everything once in the next frame. `kind` says why, for those who care.
export function change(fields) {
  Object.assign(state, fields);
  if (!frame) frame = requestAnimationFrame(draw);
}

function draw() {
  frame = 0;
  for (const listener of listeners) listener(state);
  remember();
}

export const reset = () => change(defaults());

// A logit as the reference gets it: f32, and finite.
export function asLogit(value) {
  const number = Number.isFinite(value) ? Math.max(-LARGEST, Math.min(LARGEST, value)) : 0;
  return Math.fround(number);
}

// Control characters, those that turn the direction of a text, and halves of characters.
const UNWRITTEN = /[\p{Cc}\p{Cs}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

// A name as it can be shown: at most 16 units long, without half a character, and with something to see.
export function asName(written, index) {
  let name = "";
  for (const character of written.replace(UNWRITTEN, "")) {
    if (name.length + character.length > LONGEST_NAME) break;
    name += character;
  }
  return name.trim() === "" ? `class ${index + 1}` : name;
}

export function addClass() {
  const { names, logits, weights, soft } = state;
  if (names.length >= MAX_CLASSES) return;
  const name = SPARE_NAMES.find((spare) => !names.includes(spare)) ?? `class ${names.length + 1}`;
  change({ names: [...names, name], logits: [...logits, 0], weights: [...weights, 1], soft: soft && [...soft, 0], offset: 0 });
}

export function removeClass(index) {
  const { names, logits, weights, soft, target, pair } = state;
  if (names.length <= MIN_CLASSES) return;
  const without = (list) => list && list.filter((_, at) => at !== index);
  const moved = (at) => Math.min(at > index ? at - 1 : at, names.length - 2);
  const [a, b] = pair.map(moved);
  change({
    offset: 0,
    names: without(names),
    logits: without(logits),
    weights: without(weights),
    soft: without(soft),
    target: moved(target),
    pair: a === b ? [a, a === 0 ? 1 : 0] : [a, b],
  });
}

export function set(field, index, value) {
  const list = [...state[field]];
  list[index] = value;
  change({ [field]: list });
}

// The address. Only what differs from the start is written: #z=2,1,0.5,-1&n=cat,dog,bird,fish&t=1 …

const number = (value) => String(Number(Number(value).toPrecision(7)));

const FIELDS = {
  n: ["names", (list) => list.map(encodeURIComponent).join(","), (written) => written.split(",").map(decodeURIComponent)],
  z: ["logits", numbers, readNumbers],
  t: ["temperature", number, Number],
  k: ["topK", number, Number],
  p: ["topP", number, Number],
  s: ["seed", String, Number],
  d: ["draws", number, Number],
  x: ["scale", number, Number],
  ab: ["pair", numbers, readNumbers],
  y: ["target", number, Number],
  q: ["soft", (list) => (list ? numbers(list) : ""), readNumbers],
  w: ["weights", numbers, readNumbers],
  e: ["smoothing", number, Number],
  g: ["focal", number, Number],
  lr: ["rate", number, Number],
  r: ["rows", number, Number],
  c: ["cols", number, Number],
};

function numbers(list) {
  return list.map(number).join(",");
}

function readNumbers(written) {
  return written.split(",").map(Number);
}

export function address() {
  const start = defaults();
  const parts = [];
  for (const [key, [field, write]] of Object.entries(FIELDS)) {
    const written = write(state[field]);
    const differs = field === "weights" ? state.weights.some((weight) => weight !== 1) : written !== write(start[field]);
    if (differs) parts.push(`${key}=${written}`);
  }
  return parts.join("&");
}

let timer = 0;

// Browsers limit how often the address may change.
export function remember() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    const hash = address();
    const [path] = location.href.split("#");
    // A plain #softmax in the address stays, until there is something to remember.
    if (hash || location.hash.includes("=")) history.replaceState(null, "", hash ? `${path}#${hash}` : path);
  }, 250);
}

// Reads an address. What is missing or makes no sense stays at its start.
export function read(hash) {
  const found = defaults();
  for (const part of hash.replace(/^#/, "").split("&")) {
    const at = part.indexOf("=");
    const entry = FIELDS[part.slice(0, at)];
    if (at < 0 || !entry) continue;
    try {
      found[entry[0]] = entry[2](part.slice(at + 1));
    } catch {
      // Not an encoded name: ignored, like everything else that cannot be read.
    }
  }
  change(sound(found));
}

const whole = (value, high, otherwise) => (Number.isInteger(value) ? within(value, 0, high, otherwise) : otherwise);
const within = (value, low, high, otherwise) => (value >= low && value <= high ? value : otherwise);

function sound(found) {
  const start = defaults();
  const count = Math.min(MAX_CLASSES, found.logits.length);
  if (count < MIN_CLASSES || found.logits.some(Number.isNaN)) return start;
  const logits = found.logits.slice(0, count).map(asLogit);
  const list = (values, of) => Array.from({ length: count }, (_, index) => of(values?.[index], index));
  const index = (value, otherwise) => whole(value, count - 1, otherwise);
  const names = list(found.names, (name, at) => asName(name ?? SPARE_NAMES[at], at));
  const pair = [index(found.pair[0], 0), index(found.pair[1], 1)];
  return {
    ...found,
    names,
    logits,
    temperature: within(found.temperature, MIN_TEMPERATURE, MAX_TEMPERATURE, 1),
    topK: whole(found.topK, MAX_CLASSES, 0),
    topP: within(found.topP, 0, 1, 1),
    seed: whole(found.seed, MAX_SEED, start.seed),
    draws: whole(found.draws, MAX_DRAWS, 0),
    scale: [1, 10, 100, 1000].includes(found.scale) ? found.scale : 1,
    pair: pair[0] === pair[1] ? [0, 1] : pair,
    target: index(found.target, 0),
    soft: found.soft && list(found.soft, (share) => within(share, 0, 1, 0)),
    weights: list(found.weights, (weight) => within(weight, 0, MAX_WEIGHT, 1)),
    smoothing: within(found.smoothing, 0, 0.5, 0),
    focal: within(found.focal, 0, 5, 0),
    rate: within(found.rate, 0.1, 10, 1),
    rows: ROWS.includes(found.rows) ? found.rows : start.rows,
    cols: COLS.includes(found.cols) ? found.cols : start.cols,
  };
}
