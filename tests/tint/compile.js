// Compiles every module of a folder with Tint, without a driver: node compile.js FOLDER. Each becomes two pipelines, one with
// every switch off and one with every switch on, because some rules apply only once the override constants have values.

import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { create } from "webgpu";

// The sizes of a workgroup that the memory of every module allows; every other constant is a switch, or a number that may be 1.
const SIZES = { LANES: 32, ROWS: 4, INVOCATIONS: 128, REDUCE_LANES: 256 };

const gpu = create(["backend=null"]);
const adapter = await gpu.requestAdapter();
if (!adapter) throw new Error("no adapter of the null backend");
const device = await adapter.requestDevice();

// What Tint says against a module, or nothing.
async function refusal(code) {
  const entryPoint = code.match(/^\/\/ entry +(\w+)$/m)?.[1];
  const names = [...code.matchAll(/^override (\w+)/gm)].map(([, name]) => name);
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code });
  const { messages } = await module.getCompilationInfo();
  const said = messages.map(({ type, lineNum, message }) => `${type} in line ${lineNum}: ${message}`);
  for (const on of said.length ? [] : [0, 1]) {
    const constants = Object.fromEntries(names.map((name) => [name, SIZES[name] ?? on]));
    device.createComputePipeline({ layout: "auto", compute: { module, entryPoint, constants } });
  }
  const error = await device.popErrorScope();
  if (error && !said.length) said.push(error.message);
  return said.join("\n");
}

const folder = process.argv[2];
const files = (await readdir(folder)).filter((name) => name.endsWith(".wgsl")).sort();
let compiled = 0;
const wrong = [];
const unknown = [];
for (const name of files) {
  const said = await refusal(await readFile(join(folder, name), "utf8"));
  // Browsers have no 64-bit integers. Should Tint learn them, these modules can be compiled as well.
  if (name.includes("-int64")) {
    (/unresolved type 'u64'/.test(said) ? unknown : wrong).push(`${name}: ${said || "compiled, with 64-bit integers"}`);
  } else if (said) wrong.push(`${name}: ${said}`);
  else compiled += 1;
}

// A check that accepts anything checks nothing.
for (const [what, code] of [
  ["a barrier in non-uniform control flow", "@compute @workgroup_size(8) fn main(@builtin(local_invocation_index) i: u32) { if i < 4u { workgroupBarrier(); } }"],
  ["too large a workgroup", "override LANES: u32; @compute @workgroup_size(LANES * 64) fn main() { }"],
]) {
  if (!(await refusal(`// entry main\n${code.replace("override", "\noverride")}`))) wrong.push(`accepted: ${what}`);
}

console.log(`xent: Tint compiled ${compiled} modules; ${unknown.length} have 64-bit integers, which browsers do not have`);
if (wrong.length || compiled < 100) {
  console.error(wrong.join("\n"));
  process.exitCode = 1;
}
device.destroy();
