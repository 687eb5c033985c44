// The crate on WebGPU in the browser, and what a browser without WebGPU shows.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inaccessible, launch, settle, until } from "./browser.js";

const isDone = () => /Done|did not work/.test(document.getElementById("gpu-status").textContent);

test("loss and gradient are within their bounds on WebGPU", async () => {
  const browser = await launch({ webgpu: true });
  try {
    const { page, problems } = await browser.open("");
    for (const [rows, cols] of [["16", "100"], ["16", "50257"]]) {
      await page.locator("#rows").selectOption(rows);
      await page.locator("#cols").selectOption(cols);
      await page.locator("#gpu-run").click();
      await settle(page);
      await until(page, isDone, 120_000);
      assert.equal(await page.locator("#gpu-status").textContent(), "Done.");
      assert.match(await page.locator("#gpu-verdict").textContent(), /^✓ Within bounds: checked \d+ of \d+ rows/);
      assert.match(await page.locator("#gpu-loss").textContent(), /^\d+\.\d{4} nats$/);
      const times = await page.locator("#gpu-times td").allTextContents();
      assert.equal(times.length, 6);
      assert.ok(times.every((time) => Number.parseFloat(time) > 0), times.join());
      assert.notEqual(await page.locator("#gpu-adapter").textContent(), "");
    }
    // 4,096 × 128,256 are more than 64 Mi.
    await page.locator("#rows").selectOption("4096");
    await page.locator("#cols").selectOption("128256");
    await settle(page);
    assert.ok(await page.locator("#gpu-run").isDisabled());
    assert.match(await page.locator("#gpu-size").textContent(), /too many/);
    assert.deepEqual(problems, []);
  } finally {
    await browser.close();
  }
});

test("the sampler on WebGPU draws what the reference draws", async () => {
  const browser = await launch({ webgpu: true });
  try {
    const { page, problems } = await browser.open("#d=1000&t=1.5&k=3&p=0.95&s=5");
    await page.locator("#sample-run").click();
    await settle(page);
    await until(page, () => /Done|did not work/.test(document.getElementById("sample-status").textContent), 120_000);
    assert.equal(await page.locator("#sample-status").textContent(), "Done.");
    const counts = (await page.locator("#samples .num:nth-of-type(5)").allTextContents()).map((figure) => figure.match(/\((.*)\)/)[1]);
    assert.equal(counts[3], "0");
    const names = ["cat", "dog", "bird", "fish"].map((name, index) => `${name} ${counts[index]}`).join(", ");
    const verdict = await page.locator("#sample-verdict").textContent();
    assert.ok(verdict.startsWith("✓ Drawn on this GPU (") && verdict.endsWith(`: ${names}; every draw is the reference’s.`), verdict);
    assert.deepEqual(await inaccessible(page), []);
    // Another state: the verdict is not of it.
    await page.locator("#top-k").fill("2");
    await settle(page);
    assert.ok(await page.locator("#sample-verdict").isHidden());
    assert.deepEqual(problems, []);
  } finally {
    await browser.close();
  }
});

async function runChecks(page) {
  await page.locator("#checks-run").click();
  await settle(page);
  await until(page, () => /Done|did not work/.test(document.getElementById("checks-status").textContent), 120_000);
  assert.equal(await page.locator("#checks-status").textContent(), "Done.");
  const failures = await page.locator("#checks-failures li").allTextContents();
  return { verdict: await page.locator("#checks-verdict").textContent(), failures };
}

test("worked examples and special rows are right on WebGPU, by both ways", async () => {
  const browser = await launch({ webgpu: true });
  try {
    const { page, problems } = await browser.open("");
    const { verdict, failures } = await runChecks(page);
    assert.deepEqual(failures, []);
    const [, total] = verdict.match(/^✓ All (\d+) checks passed\.$/);
    assert.ok(Number(total) > 200, total);
    const table = await page.locator("#checks-table tbody tr").allTextContents();
    assert.ok(table.includes("NaN✓right✓right✓right"), table.join("\n"));
    assert.ok(table.includes("2, 1, 0.5, −1–not checked–not checked✓right"), table.join("\n"));
    assert.deepEqual(await inaccessible(page), []);
    assert.deepEqual(problems, []);
  } finally {
    await browser.close();
  }
});

test("a GPU whose softmax is off by a thousandth is found out", async () => {
  const wrong = `const made = GPUDevice.prototype.createShaderModule;
    GPUDevice.prototype.createShaderModule = function (module) {
      return made.call(this, { ...module, code: module.code.replace("* record.inverse_sum)", "* record.inverse_sum * 1.001)") });
    };`;
  const browser = await launch({ webgpu: true, before: { "/js/gpu-worker.js": wrong } });
  try {
    const { page } = await browser.open("");
    const { verdict, failures } = await runChecks(page);
    assert.match(verdict, /^✗ \d+ of \d+ checks failed/);
    assert.match(failures[0], /^2, 1, 0\.5, −1, softmax, host slices: 6\.1006\d*e-1 in column 0, expected 6\.095/);
    const table = await page.locator("#checks-table tbody tr").allTextContents();
    assert.ok(table.includes("noise✓right✓right✗wrong"), table.join("\n"));
  } finally {
    await browser.close();
  }
});

test("with WebGPU, but no adapter, the page says so and what to do", async () => {
  const none = "GPU.prototype.requestAdapter = async () => null;";
  const browser = await launch({ webgpu: true, before: { "/js/unloaded.js": none } });
  try {
    const { page, problems } = await browser.open("#d=100");
    await until(page, () => !document.getElementById("gpu-absent").hidden);
    assert.match(await page.locator("#gpu-absent").textContent(), /offers no GPU .* settings/);
    for (const id of ["gpu-run", "checks-run", "sample-run"]) assert.ok(await page.locator(`#${id}`).isHidden(), id);
    assert.equal(await page.locator("#draw-status").textContent(), "100 draws.");
    assert.deepEqual(problems, []);
  } finally {
    await browser.close();
  }
});

test("without WebGPU the page says so, and the rest works", async () => {
  const browser = await launch();
  try {
    const { page, problems } = await browser.open("");
    assert.ok(await page.locator("#gpu-absent").isVisible());
    assert.match(await page.locator("#gpu-absent").textContent(), /no WebGPU/);
    assert.ok(await page.locator("#gpu-run").isHidden());
    assert.ok(await page.locator("#checks-run").isHidden());
    assert.ok(await page.locator("#sample-run").isHidden());
    assert.equal(await page.locator("#loss").textContent(), "0.4952");
    assert.deepEqual(problems, []);
  } finally {
    await browser.close();
  }
});
