// The page in a headless browser: the worked figures, every control, its address, accessibility, and what it may not do.

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { DIST, inaccessible, launch, settle, until } from "./browser.js";

let browser, shared;
before(async () => {
  browser = await launch();
  shared = await browser.open("");
});
after(() => browser.close());

// The shared page, from its start or at an address; nothing may have gone wrong on it in the end.
async function on(address, check) {
  const { page, problems } = shared;
  await page.locator("#reset").click();
  await settle(page);
  if (address) {
    await page.evaluate((hash) => (location.hash = hash), address);
    await settle(page);
  }
  await check(page);
  assert.deepEqual(problems, []);
}

// A page of its own.
const afresh = (...what) => browser.afresh(...what);

const shown = (page, selector) => page.locator(selector).allTextContents();
const text = (page, selector) => page.locator(selector).textContent();

async function slide(page, selector, value) {
  await page.locator(selector).first().fill(String(value));
  await settle(page);
}

async function press(page, selector) {
  await page.locator(selector).click();
  await settle(page);
}

test("the four logits of the texts give their figures", () =>
  on("", async (page) => {
    assert.deepEqual(await shown(page, ".ledger-row .p"), ["0.6095", "0.2242", "0.1360", "0.0303"]);
    assert.deepEqual(await shown(page, ".ledger-row .at-exp .out"), ["7.389", "2.718", "1.649", "0.368"]);
    assert.equal(await text(page, "#sum-exp"), "12.124");
    assert.equal(await text(page, "#sum-prob"), "1.0000");
    assert.equal(await text(page, "#loss"), "0.4952");
    assert.deepEqual(await shown(page, ".push .at-g .out"), ["−0.3905", "+0.2242", "+0.1360", "+0.0303"]);
    assert.deepEqual(await shown(page, ".lines .value"), ["0.6095", "−0.4952", "0.4952", "0.4952"]);
    assert.deepEqual([await text(page, "#pair-softmax"), await text(page, "#pair-sigmoid")], ["0.7311", "0.7311"]);
    assert.equal(await text(page, "#versus-sigmoid"), "2.5033");
  }));

test("the worked example of the crate's documentation: 3, 1, 0.2", () =>
  on("#z=3,1,0.2", async (page) => {
    assert.deepEqual(await shown(page, ".ledger-row .p"), ["0.8360", "0.1131", "0.0508"]);
    assert.deepEqual([await text(page, "#once"), await text(page, "#twice")], ["0.1791", "0.6634"]);
  }));

test("a slider moves its bar, the numbers, the loss and the address", () =>
  on("", async (page) => {
    const width = () => page.locator(".ledger-row .fill").nth(3).evaluate((bar) => new DOMMatrix(getComputedStyle(bar).transform).m41);
    const before = await width();
    await page.locator(".ledger-row input.logit").nth(3).fill("5");
    await settle(page);
    assert.ok((await width()) > before + 100, "the bar of fish did not grow");
    assert.equal(await page.locator(".ledger-row .at-typed input").nth(3).inputValue(), "5.00");
    assert.equal(await text(page, "#argmax"), "fish.");
    // −ln p of cat: ln(e² + e + e^0.5 + e⁵) − 2
    assert.equal(await text(page, "#loss"), (Math.log(Math.exp(2) + Math.E + Math.exp(0.5) + Math.exp(5)) - 2).toFixed(4));
    await until(page, () => location.hash === "#z=2,1,0.5,5");
  }));

test("the temperature changes the probabilities, and not the order", () =>
  on("", async (page) => {
    await slide(page, "#temperature", 1000);
    const exponentials = [2, 1, 0.5, -1].map((z) => Math.exp(z / 20));
    const sum = exponentials.reduce((total, value) => total + value);
    assert.deepEqual(await shown(page, ".ledger-row .p"), exponentials.map((value) => (value / sum).toFixed(4)));
    assert.equal(await text(page, "#argmax"), "cat.");
    await slide(page, "#temperature", 0);
    // e^(−20) of dog and e^(−30) of bird are all that cat does not have.
    assert.deepEqual((await shown(page, ".ledger-row .p")).slice(0, 3), ["1 − 2.1 × 10⁻⁹", "2.1 × 10⁻⁹", "9.4 × 10⁻¹⁴"]);
    assert.equal(await text(page, "#argmax"), "cat.");
    await slide(page, "#temperature", 500);
    assert.equal(await page.locator("#temperature-value").inputValue(), "1");
    assert.ok(await page.locator("#versus-note").isHidden());
    // The slider beside the draws is the same, and the sigmoids are of z/T, too.
    await page.locator("#temperature-value").fill("2");
    await settle(page);
    assert.equal(await text(page, "#sample-temperature-value"), "2");
    assert.deepEqual(await shown(page, "#versus .num:nth-of-type(5)"), [1, 0.5, 0.25, -0.5].map((z) => (1 / (1 + Math.exp(-z))).toFixed(4)));
    assert.match(await text(page, "#versus-note"), /T = 2\./);
    await slide(page, "#sample-temperature", 0);
    assert.equal(await page.locator("#temperature-value").inputValue(), "0.05");
  }));

test("adding 10 to all changes no probability", () =>
  on("", async (page) => {
    await press(page, "#add-ten");
    assert.deepEqual(await shown(page, ".ledger-row .p"), ["0.6095", "0.2242", "0.1360", "0.0303"]);
    assert.equal(await text(page, "#shift-added"), "+10");
    assert.equal(await text(page, "#shift-change"), "0");
    assert.match(await text(page, "#shift-factor"), /22,026 times as large$/);
  }));

test("× 1000 overflows as written, and not with the maximum subtracted", () =>
  on("", async (page) => {
    assert.deepEqual(await shown(page, "#naive .wrong"), []);
    await page.getByRole("radio", { name: "× 1000" }).check();
    await settle(page);
    assert.deepEqual(await shown(page, "#naive .wrong"), ["∞", "NaN", "∞", "NaN", "∞", "NaN"]);
    assert.deepEqual(await shown(page, "#shifted .wrong"), []);
    assert.deepEqual(await shown(page, "#shifted tbody td:last-child"), ["1.0000", "0", "0", "0"]);
    assert.match(await text(page, "#overflow-verdict"), /cat, dog, bird/);
  }));

test("classes are added, named and removed, from 2 to 12", () =>
  on("", async (page) => {
    for (let count = 5; count <= 12; count += 1) await press(page, "#add-class");
    assert.equal(await page.locator(".ledger-row").count(), 12);
    assert.ok(await page.locator("#add-class").isDisabled());
    await page.locator("input.name").nth(4).fill("a, b = <i>&");
    await settle(page);
    assert.equal(await page.locator(".push .truth-name").nth(4).textContent(), "a, b = <i>&");
    await until(page, () => location.hash.includes("a%2C"));
    await page.reload();
    await until(page, () => document.querySelectorAll(".ledger-row").length === 12);
    assert.equal(await page.locator("input.name").nth(4).inputValue(), "a, b = <i>&");
    for (let count = 12; count > 2; count -= 1) {
      await page.locator(".remove").first().click();
      await settle(page);
    }
    assert.equal(await page.locator(".ledger-row").count(), 2);
    assert.ok(await page.locator(".remove").first().isDisabled());
  }));

const drawnCounts = async (page) => (await shown(page, "#samples .num:nth-of-type(5)")).map((figure) => Number(figure.match(/\((.*)\)/)[1].replace(/,/g, "")));

test("draws add up, come close to the exact probabilities, and are those of the seed", () =>
  on("", async (page) => {
    assert.deepEqual(await shown(page, "#samples .num:nth-of-type(3)"), ["0.6095", "0.2242", "0.1360", "0.0303"]);
    assert.deepEqual(await shown(page, "#samples .num:nth-of-type(5)"), ["–", "–", "–", "–"]);
    let draws = 0;
    for (const by of [1, 100, 10000, 10000]) {
      await press(page, `#draw-buttons [value="${by}"]`);
      draws += by;
      assert.equal((await drawnCounts(page)).reduce((sum, count) => sum + count), draws);
      assert.match(await text(page, "#draw-status"), new RegExp(`^${draws.toLocaleString("en")} draws?\\.$`));
    }
    const counts = await drawnCounts(page);
    [0.6095, 0.2242, 0.136, 0.0303].forEach((p, index) => {
      // Four standard deviations.
      const bound = 4 * Math.sqrt((p * (1 - p)) / draws);
      assert.ok(Math.abs(counts[index] / draws - p) < bound, `${counts} of ${draws}`);
    });
    await page.locator("#seed").fill("2");
    await settle(page);
    assert.notDeepEqual(await drawnCounts(page), counts);
    await page.locator("#seed").fill("1");
    await settle(page);
    assert.deepEqual(await drawnCounts(page), counts);
    await until(page, () => location.hash === "#d=20101");
    await press(page, "#draw-clear");
    assert.equal(await text(page, "#draw-status"), "");
    assert.deepEqual(await shown(page, "#samples .num:nth-of-type(5)"), ["–", "–", "–", "–"]);
    assert.ok(await page.locator("#draw-clear").isDisabled());
  }));

test("top-k 2 leaves two classes, top-p the fewest with the share, and the temperature comes first", () =>
  on("#d=1000", async (page) => {
    const exact = () => shown(page, "#samples .num:nth-of-type(3)");
    await slide(page, "#top-k", 2);
    // σ(2 − 1) and σ(1 − 2)
    assert.deepEqual(await exact(), ["0.7311", "0.2689", "left out", "left out"]);
    assert.equal(await text(page, "#sample-left"), "2 of 4");
    const counts = await drawnCounts(page);
    assert.ok(counts[0] > counts[1] && counts[1] > 0, counts.join());
    assert.deepEqual([counts[0] + counts[1], counts[2], counts[3]], [1000, 0, 0]);
    await slide(page, "#top-p", 0.7);
    assert.deepEqual(await exact(), ["1.0000", "left out", "left out", "left out"]);
    assert.deepEqual(await drawnCounts(page), [1000, 0, 0, 0]);
    await slide(page, "#top-k", 4);
    // 0.6095 is below 0.7, and with 0.2242 it is not.
    assert.deepEqual(await exact(), ["0.7311", "0.2689", "left out", "left out"]);
    await slide(page, "#temperature", 1000);
    assert.equal(await text(page, "#sample-left"), "3 of 4");
    await until(page, () => location.hash === "#t=20&p=0.7&d=1000");
  }));

test("no more than 100,000 draws", () =>
  on("#d=99999&s=4294967295", async (page) => {
    await press(page, '#draw-buttons [value="100"]');
    assert.equal(await text(page, "#draw-status"), "100,000 draws, the most here.");
    assert.equal((await drawnCounts(page)).reduce((sum, count) => sum + count), 100000);
    const cut = await page.locator("#samples .num").evaluateAll((figures) => figures.filter((figure) => figure.scrollWidth > figure.clientWidth).map((figure) => figure.textContent));
    assert.deepEqual(cut, []);
    assert.ok(await page.locator('#draw-buttons [value="1"]').isDisabled());
    await until(page, () => location.hash === "#s=4294967295&d=100000");
  }));

test("the knobs of the loss follow PyTorch's definitions", () =>
  on("", async (page) => {
    const nll = [0.4952, 1.4952, 1.9952, 3.4952];
    await slide(page, "#smoothing", 0.2);
    const mean = nll.reduce((sum, value) => sum + value) / 4;
    assert.ok(Math.abs(Number(await text(page, "#loss")) - (0.8 * nll[0] + 0.2 * mean)) < 2e-4);
    await slide(page, "#smoothing", 0);
    await slide(page, "#focal", 2);
    assert.ok(Math.abs(Number(await text(page, "#loss")) - (1 - 0.6095) ** 2 * nll[0]) < 2e-4);
    await page.locator(".target-row input").nth(1).fill("3");
    await settle(page);
    assert.ok(Math.abs(Number(await text(page, "#loss")) - 3 * (1 - 0.6095) ** 2 * nll[0]) < 4e-4);
    await page.getByRole("radio", { name: "soft" }).check();
    await settle(page);
    assert.ok(Math.abs(Number(await text(page, "#loss")) - (3 * 0.7 * nll[0] + 0.1 * (nll[1] + nll[2] + nll[3]))) < 4e-4);
    assert.ok(await page.locator("#focal").isDisabled());
  }));

test("gradient steps lower the loss, one at a time and until it is small", () =>
  on("#y=3", async (page) => {
    const first = Number(await text(page, "#loss"));
    await press(page, "#step");
    const second = Number(await text(page, "#loss"));
    assert.ok(second < first, `${second} after ${first}`);
    await press(page, "#run-steps");
    await page.getByText("Reached: the loss is below 0.01.").waitFor();
    assert.ok(Number(await text(page, "#loss")) < 0.01);
    await press(page, "#undo-steps");
    assert.equal(Number(await text(page, "#loss")), first);
    // With smoothing, the loss has a floor above 0.01.
    await slide(page, "#smoothing", 0.1);
    await slide(page, "#rate", 100);
    await press(page, "#run-steps");
    await page.getByText("the loss cannot fall further").waitFor();
    assert.ok(Number(await text(page, "#loss")) > 0.01);
  }));

test("a link opens the same state, and a broken one does no harm", async () => {
  const address = "#n=yes,no&z=-1.5,2.25&t=0.5&k=1&p=0.35&s=7&d=12&x=100&y=1&w=1,2&e=0.1&g=1.5&lr=2.5&r=64&c=100";
  let state;
  await afresh(address, async (page) => {
    state = [await text(page, "#loss"), ...(await shown(page, ".ledger-row .p"))];
    await slide(page, "#smoothing", 0.2);
    await slide(page, "#smoothing", 0.1);
    // Long enough for the address to have been written.
    await page.waitForTimeout(600);
    assert.equal(new URL(page.url()).hash, address);
  });
  await afresh(address, async (page) => assert.deepEqual([await text(page, "#loss"), ...(await shown(page, ".ledger-row .p"))], state));
  await on(address, async (page) => assert.equal(await text(page, "#loss"), state[0]));
  for (const broken of ["#z=1", "#z=a,b", "#z=1,2&y=7&t=-3&e=9&q=&ab=5", "#n=%E0%A4%A&=&z", "#z=1e99,-1e99,0", "#q=1,2,x,NaN", "#k=-1&p=2&s=0.5&d=1e9"]) {
    await on(broken, async (page) => {
      assert.ok((await page.locator(".ledger-row").count()) >= 2, broken);
      assert.ok((await shown(page, ".ledger-row .p")).every((p) => p !== "NaN"), broken);
      assert.notEqual(await text(page, "#loss"), "NaN", broken);
    });
  }
});

test("the keyboard reaches and moves everything", () =>
  on("", async (page) => {
    const all = await page.locator("a, button, input, select").evaluateAll((nodes) => {
      const reachable = nodes.filter((node) => !node.disabled && node.checkVisibility());
      // Of a group of radio buttons, Tab reaches the chosen one.
      return reachable.filter((node) => node.type !== "radio" || node.checked).length;
    });
    const reached = new Set();
    await page.evaluate(() => document.querySelectorAll("a, button, input, select").forEach((node, index) => (node.dataset.index = index)));
    for (let count = 0; count < all + 5; count += 1) {
      await page.keyboard.press("Tab");
      const index = await page.evaluate(() => document.activeElement?.dataset.index);
      if (index !== undefined) reached.add(index);
    }
    assert.equal(reached.size, all);
    await page.locator(".ledger-row input.logit").first().focus();
    await page.keyboard.press("ArrowRight");
    await settle(page);
    assert.equal(await page.locator(".ledger-row .at-typed input").first().inputValue(), "2.05");
    await page.locator(".push input[type=radio]").first().focus();
    await page.keyboard.press("ArrowDown");
    await settle(page);
    assert.ok(await page.locator(".push input[type=radio]").nth(1).isChecked());
  }));

test("a screen reader hears a summary once the user has paused, and nothing before", () =>
  on("", async (page) => {
    await page.waitForTimeout(1200);
    await page.evaluate(() => {
      globalThis.heard = [];
      const live = document.querySelectorAll("output, [role=status], [role=alert], [role=log], [aria-live]");
      for (const region of live) {
        new MutationObserver(() => globalThis.heard.push(region.textContent)).observe(region, { childList: true, characterData: true, subtree: true });
      }
    });
    for (const value of [3, 4, 5, 6, 7, 8]) await slide(page, ".ledger-row input.logit", value);
    assert.deepEqual(await page.evaluate(() => globalThis.heard), []);
    await until(page, () => globalThis.heard.length > 0);
    await page.waitForTimeout(1200);
    assert.deepEqual(await page.evaluate(() => globalThis.heard), ["cat 99.8 %, dog 0.1 %, bird 0.1 %, fish 0.0 %. Loss for cat 0.002."]);
  }));

for (const colorScheme of ["light", "dark"]) {
  for (const width of [1280, 390]) {
    test(`axe finds nothing, ${colorScheme}, ${width} pixels wide, and nothing is cut off`, () =>
      afresh(
        "#z=2,1,0.5,-1&x=1000&e=0.1&g=2&t=2&k=3&d=10000",
        async (page) => {
          assert.deepEqual(await inaccessible(page), []);
          const beyond = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
          assert.equal(beyond, 0);
        },
        { width, colorScheme },
      ));
  }
}

test("twelve classes with long names fit a phone", () =>
  afresh(
    `#z=${Array.from({ length: 12 }, (_, index) => index * 1000.123).join()}&n=${Array.from({ length: 12 }, (_, index) => `Wwwwwwwwwwwwww${index + 10}`).join()}&x=1000&t=20&k=5&d=100000`,
    async (page) => {
      const beyond = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.equal(beyond, 0);
    },
    { width: 360 },
  ));

test("all files together are below 400 kB as a server compresses them", async () => {
  const files = await readdir(DIST, { recursive: true, withFileTypes: true });
  let bytes = 0;
  for (const file of files) {
    if (file.isFile()) bytes += gzipSync(await readFile(join(file.parentPath, file.name)), { level: 9 }).length;
  }
  assert.ok(bytes > 50_000 && bytes < 400_000, `${bytes} bytes`);
});
