// What nobody should do to the page and somebody will: odd names, extreme values, broken links, files instead of a server.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { DIST, launch, settle, until } from "./browser.js";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const at = (...what) => browser.afresh(...what);

const text = (page, selector) => page.locator(selector).first().textContent();
const beyond = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

// Types into a field, as a person does, and leaves it.
async function type(page, field, written) {
  await field.click();
  await page.keyboard.press("Control+A");
  await page.keyboard.press("Delete");
  await page.keyboard.type(written);
  await page.keyboard.press("Tab");
  await settle(page);
  return field.inputValue();
}

// As written, and as shown.
const NAMES = [
  ["🐈‍⬛ noir", "🐈‍⬛ noir"],
  ["قطة صغيرة", "قطة صغيرة"],
  ["<b>bird</b>&amp;", "<b>bird</b>&amp;"],
  ["\u202Eevil\n", "evil"],
  ["   ", "class 5"],
  ["fifteen letters😀", "fifteen letters"],
  ["\uD83D", "class 7"],
  ["constructor", "constructor"],
  ["漢字漢字漢字漢字漢字漢字", "漢字漢字漢字漢字漢字漢字"],
  ["Wwwwwwwwwwwwwwwwwwwwwwww", "Wwwwwwwwwwwwwwww"],
  ["%41=&#\"'", "%41=&#\"'"],
  ["a\u0301\u0301\u0301\u0301", "a\u0301\u0301\u0301\u0301"],
];
const named = `n=${NAMES.map(([written]) => encodeURIComponent(written.toWellFormed?.() ?? written.replace("\uD83D", "�"))).join()}&z=${NAMES.map((_, index) => index / 2)}`;

test("odd names are shown as they are, on a phone too, and a link keeps them", () =>
  at(
    `#${named}&y=1&d=100000`,
    async (page) => {
      const shown = NAMES.map(([, name]) => name);
      // Half a character cannot be written into a link: there it is one that stands for it.
      shown[6] = "�";
      assert.deepEqual(await page.locator("input.name").evaluateAll((fields) => fields.map((field) => field.value)), shown);
      assert.deepEqual(await page.locator(".truth-name").allTextContents(), shown);
      assert.equal(await beyond(page), 0);
      // Figures behind a name that is written from right to left stay where they are.
      const places = await page.locator(".lines .what").first().evaluate((line) => {
        const words = line.firstChild;
        return ["p(", "=", "÷"].map((part) => {
          const range = document.createRange();
          range.setStart(words, words.data.indexOf(part));
          range.setEnd(words, words.data.indexOf(part) + 1);
          return range.getBoundingClientRect().left;
        });
      });
      assert.deepEqual(places, [...places].sort((a, b) => a - b));
      // The page writes its address, and reads it as it was.
      await page.locator(".push input[type=radio]").first().check();
      await until(page, () => !location.hash.includes("y="));
      await page.reload();
      await until(page, () => document.querySelectorAll(".ledger-row").length === 12);
      await settle(page);
      assert.deepEqual(await page.locator(".truth-name").allTextContents(), shown);
    },
    { width: 390 },
  ));

test("a typed name is cut, cleaned and never empty", () =>
  at("", async (page) => {
    const name = page.locator("input.name").first();
    assert.equal(await type(page, name, "  "), "class 1");
    assert.equal(await type(page, name, "a name that is much too long"), "a name that is m");
    assert.equal(await text(page, ".truth-name"), "a name that is m");
    // A script could write what a person cannot.
    await name.evaluate((field) => {
      field.value = "half \uD83D";
      field.dispatchEvent(new Event("input"));
    });
    await until(page, () => location.hash.includes("half"));
    assert.equal(await text(page, ".truth-name"), "half ");
  }));

test("extreme values are brought into their range, shown short, and fit the narrowest phone", () =>
  at(
    "#y=1",
    async (page) => {
      const logits = page.locator(".ledger-row .at-typed input");
      assert.equal(await type(page, logits.nth(0), "1e308"), "1e+30");
      assert.equal(await type(page, logits.nth(1), "-1e308"), "-1e+30");
      assert.equal(await text(page, "#loss"), "2.000 × 10³⁰");
      assert.equal(await text(page, "#loss-perplexity"), "∞");
      assert.match(await text(page, "#curve .points text"), /^dog: 2\.000 × 10³⁰$/);
      assert.equal(await text(page, "#overflow-verdict"), "As written, ez is ∞ for cat, and ∞ ÷ ∞ is not a number (NaN). With the maximum subtracted, every value is finite.");
      await page.locator("#step").click();
      await settle(page);
      assert.equal(await beyond(page), 0);
      assert.deepEqual(await page.getByText(/undefined|Infinity|e\+\d/).allTextContents(), []);
      // No number: what was there before comes back.
      for (const written of ["", "-", "NaN"]) assert.equal(await type(page, logits.nth(2), written), "0.50");
      // Numbers that f32 has no more digits for.
      for (const written of ["1e-308", "-0"]) assert.equal(await type(page, logits.nth(2), written), "0.00");
    },
    { width: 320 },
  ));

test("numbers out of their range are brought into it when the field is left", () =>
  at("#y=1", async (page) => {
    const [temperature, seed, weight] = [page.locator("#temperature-value"), page.locator("#seed"), page.locator(".target-row input").nth(3)];
    for (const [field, written, used] of [
      [temperature, "1e308", "20"], [temperature, "0", "0.05"], [temperature, "", "0.05"], [temperature, "1.25", "1.25"],
      [seed, "-1", "0"], [seed, "4294967296", "4294967295"], [seed, "1.5", "2"],
      [weight, "1e308", "100"], [weight, "-1", "0"], [weight, "", "0"],
    ]) {
      assert.equal(await type(page, field, written), used, written);
    }
    await until(page, () => location.hash === "#t=1.25&s=2&y=1&w=1,0,1,1");
    // A link to fewer classes, followed from a field of a class that is then gone.
    await page.locator(".ledger-row .at-typed input").nth(3).fill("7");
    // A field that is only visited keeps all digits of its logit.
    await page.evaluate(() => (location.hash = "#z=1.23456789,2"));
    await settle(page);
    const logit = page.locator(".ledger-row .at-typed input").first();
    await logit.click();
    await page.keyboard.press("Tab");
    assert.equal(await logit.inputValue(), "1.2346");
    await page.waitForTimeout(400);
    assert.equal(new URL(page.url()).hash, "#n=cat,dog&z=1.234568,2");
  }));

test("a link to a part moves there and leaves the state in the address", () =>
  at("#z=3,1,0.2", async (page) => {
    await page.getByRole("link", { name: "Cross-entropy" }).click();
    await until(page, () => location.hash === "#n=cat,dog,bird&z=3,1,0.2");
    await until(page, () => Math.abs(document.getElementById("cross-entropy").getBoundingClientRect().top) < 100);
    await page.reload();
    await until(page, () => document.querySelectorAll(".ledger-row").length === 3);
    await page.goBack();
    await until(page, () => document.querySelectorAll(".ledger-row").length === 3);
  }));

test("the labels of soft targets do not cover each other", () =>
  at(`#${named}&q=${NAMES.map((_, index) => (index + 1) / 100)}`, async (page) => {
    const labels = page.locator("#curve .points text");
    assert.equal(await page.locator("#curve .points circle").count(), 12);
    // The largest share has its label.
    assert.ok((await labels.allTextContents()).includes(NAMES.at(-1)[1]));
    const boxes = await labels.evaluateAll((nodes) => nodes.map((node) => node.getBoundingClientRect()).map(({ left, right, top, bottom }) => ({ left, right, top, bottom })));
    for (const [index, a] of boxes.entries()) {
      for (const b of boxes.slice(index + 1)) {
        assert.ok(a.right <= b.left || b.right <= a.left || a.bottom <= b.top + 3 || b.bottom <= a.top + 3, JSON.stringify([a, b]));
      }
    }
  }));

test("a finger moves a slider", () =>
  at(
    "",
    async (page) => {
      const touch = await page.context().newCDPSession(page);
      await touch.send("Emulation.setTouchEmulationEnabled", { enabled: true, maxTouchPoints: 2 });
      const slider = page.locator(".ledger-row input.logit").first();
      await slider.scrollIntoViewIfNeeded();
      const { x, y, width, height } = await slider.boundingBox();
      const send = (type, ...places) => touch.send("Input.dispatchTouchEvent", { type, touchPoints: places.map((place) => ({ x: x + place * width, y: y + height / 2 })) });
      await send("touchStart", 0.6);
      for (let place = 0.6; place < 0.9; place += 0.05) await send("touchMove", place);
      await send("touchEnd");
      await settle(page);
      assert.ok(Number(await slider.inputValue()) > 6, await slider.inputValue());
      assert.ok((await text(page, ".ledger-row .p")) > "0.98");
    },
    { width: 390, height: 844 },
  ));

test("opened from a file, the page says that it needs a server", async () => {
  const page = await browser.context.newPage();
  await page.goto(pathToFileURL(join(DIST, "index.html")).href);
  await until(page, () => !document.getElementById("broken").hidden);
  assert.match(await text(page, "#broken"), /It needs a web\s+server/);
  await page.close();
});
