// The two lock files must hold one version of wasm-bindgen: otherwise the tool cannot read what the compiler made.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { WEB } from "./browser.js";

async function version(lock, name) {
  const locked = await readFile(join(WEB, lock), "utf8");
  return locked.match(new RegExp(`name = "${name}"\nversion = "(.*)"`))?.[1];
}

test("one version of wasm-bindgen, in the crate, in the page's crate and in the tool", async () => {
  const tool = await version("bindgen/Cargo.lock", "wasm-bindgen-cli-support");
  assert.match(tool, /^\d+\.\d+\.\d+$/);
  assert.equal(await version("wasm/Cargo.lock", "wasm-bindgen"), tool);
  assert.equal(await version("../Cargo.lock", "wasm-bindgen"), tool);
});
