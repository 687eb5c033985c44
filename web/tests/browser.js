// A static server for web/dist, and a headless Chromium whose pages record what goes wrong.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const WEB = fileURLToPath(new URL("..", import.meta.url));
export const DIST = join(WEB, "dist");
const TYPES = { ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".wasm": "application/wasm", ".svg": "image/svg+xml" };
const CHROMIUM = process.env.XENT_CHROMIUM
  ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

async function serve(before) {
  const server = createServer(async (request, response) => {
    const path = normalize(new URL(request.url, "http://x").pathname);
    const file = join(DIST, path.endsWith("/") ? `${path}index.html` : path);
    try {
      const content = await readFile(file);
      response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
      response.end(before[path] ? before[path] + content : content);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, origin: `http://127.0.0.1:${server.address().port}` };
}

// Opens the browser, with WebGPU in software or without any GPU. `before` has code to put before files, by path. `open` gives a
// page at an address, of a size and a colour scheme; `afresh` checks something on one, and that nothing went wrong on it;
// `context` is for other pages; `close` ends everything.
export async function launch({ webgpu = false, before = {} } = {}) {
  const { server, origin } = await serve(before);
  const profile = mkdtempSync(join(tmpdir(), "xent-web-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    headless: true,
    args: [
      "--headless=new", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
      ...(webgpu ? ["--enable-unsafe-webgpu"] : ["--disable-gpu"]),
    ],
    ignoreDefaultArgs: ["--headless=old", "--headless"],
  });

  // `navigator.gpu` is there in every case; without it, the page is one in a browser without WebGPU.
  if (!webgpu) await context.addInitScript(() => delete Navigator.prototype.gpu);

  async function open(address = "", { width = 1280, height = 900, colorScheme = "light", reducedMotion = "reduce" } = {}) {
    const page = await context.newPage();
    const problems = [];
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) problems.push(`${message.type()}: ${message.text()}`);
    });
    page.on("pageerror", (error) => problems.push(`thrown: ${error.message}`));
    page.on("request", (request) => {
      if (!request.url().startsWith(`${origin}/`)) problems.push(`a request to ${request.url()}`);
    });
    page.on("requestfailed", (request) => problems.push(`failed: ${request.url()}`));
    page.on("response", (response) => {
      if (response.status() >= 400) problems.push(`${response.status()}: ${response.url()}`);
    });
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme, reducedMotion });
    await page.goto(`${origin}/${address}`);
    await until(page, () => document.querySelectorAll(".ledger-row").length > 0);
    await settle(page);
    return { page, problems };
  }

  async function afresh(address, check, options) {
    const { page, problems } = await open(address, options);
    try {
      await check(page);
      assert.deepEqual(problems, []);
    } finally {
      await page.close();
    }
  }

  async function close() {
    await context.close();
    server.close();
    rmSync(profile, { recursive: true, force: true });
  }
  return { context, open, afresh, close };
}

// Until the page has drawn what was last changed.
export const settle = (page) =>
  page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve))));

// Waits until a function of the page gives something true. (The page's security policy forbids playwright's own way.)
export async function until(page, isTrue, timeout = 30_000) {
  const end = Date.now() + timeout;
  while (!(await page.evaluate(isTrue))) {
    if (Date.now() > end) throw new Error(`not within ${timeout} ms: ${isTrue}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

// What axe-core finds against a page.
export async function inaccessible(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("\n")}`);
}
