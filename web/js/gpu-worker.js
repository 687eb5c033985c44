// Does one thing on the GPU, then ends: computes a batch, checks it and times it; runs the crate's checks; or draws classes.

import init, { Batch, Gpu, Steps, run_checks } from "../wasm/xent_web.js";

// Logits whose rows are compared with the reference, and the most rows.
const CHECKED_LOGITS = 2_000_000;
const CHECKED_ROWS = 64;
// How long one submission lasts at least, and all samples of one line at most.
const SAMPLE_MS = 60;
const LINE_MS = 2000;

onmessage = async ({ data }) => {
  try {
    await init();
    const work = data.checks ? checks : data.sample ? sample : compute;
    postMessage(await work(data));
  } catch (error) {
    postMessage({ error: error.message ?? String(error) });
  }
};

async function checks() {
  say("Checking …");
  const { quantities, cases, failures } = await run_checks();
  return { quantities, cases, failures };
}

async function sample({ sample: { logits, seed, temperature, topK, topP, draws } }) {
  const gpu = await Gpu.open();
  const adapter = await adapterName(gpu);
  say("Drawing …");
  const { counts, differing } = await gpu.sample(Float32Array.from(logits), new Steps(seed, temperature, topK, topP), draws);
  return { counts: [...counts], differing, adapter };
}

async function compute({ rows, cols, seed }) {
  const gpu = await Gpu.open();
  const adapter = await adapterName(gpu);
  say("Making a batch …");
  const batch = new Batch(rows, cols, seed);
  say("Computing, and checking against the reference …");
  const count = Math.max(1, Math.min(rows, CHECKED_ROWS, Math.floor(CHECKED_LOGITS / cols)));
  const checked = await gpu.check(batch, count);
  const { loss, passed, rowsChecked, lossError, gradientError } = checked;
  const times = [];
  for (const [name, withGradient] of [["loss", false], ["loss and gradient", true]]) {
    say(`Timing the ${name} …`);
    times.push({ name, ...(await time(gpu, batch, withGradient)) });
  }
  return { answer: { loss, passed, rowsChecked, lossError, gradientError }, times, adapter, rows };
}

const say = (phase) => postMessage({ phase });

// The browser's own words for the adapter: often only a vendor and an architecture.
async function adapterName(gpu) {
  const name = gpu.name();
  const info = (await navigator.gpu.requestAdapter())?.info;
  const words = name || [info?.vendor, info?.architecture, info?.device].filter(Boolean).join(" ");
  return `${words || "not named by the browser"}${info?.isFallbackAdapter ? " (software)" : ""}`;
}

async function time(gpu, batch, withGradient) {
  const bound = await gpu.bind(batch, withGradient);
  try {
    // The first run compiles; the second says how many fit into a sample.
    await bound.run(1);
    const once = await milliseconds(bound, 1);
    const times = Math.max(1, Math.min(500, Math.ceil(SAMPLE_MS / Math.max(once, 0.05))));
    const samples = [];
    const until = performance.now() + LINE_MS;
    do samples.push((await milliseconds(bound, times)) / times);
    while (samples.length < 9 && performance.now() < until);
    samples.sort((a, b) => a - b);
    return { ms: samples[Math.floor(samples.length / 2)], logits: bound.logits, bytes: bound.bytes };
  } finally {
    bound.free();
  }
}

async function milliseconds(bound, times) {
  const start = performance.now();
  await bound.run(times);
  return performance.now() - start;
}
