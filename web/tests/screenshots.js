// Pictures of the page for people to look at: `npm run screenshots` writes them to web/tests/screenshots.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { WEB, launch, settle } from "./browser.js";

const folder = join(WEB, "tests", "screenshots");
mkdirSync(folder, { recursive: true });
const browser = await launch({ webgpu: true });
for (const colorScheme of ["light", "dark"]) {
  for (const width of [1280, 390]) {
    const { page, problems } = await browser.open(process.argv[2] ?? "", { width, height: 900, colorScheme });
    await settle(page);
    await page.screenshot({ path: join(folder, `top-${width}-${colorScheme}.png`) });
    await page.evaluate(() => (document.querySelector(".masthead").style.position = "static"));
    for (const part of ["softmax", "cross-entropy", "gpu"]) {
      await page.locator(`#${part}`).screenshot({ path: join(folder, `${part}-${width}-${colorScheme}.png`) });
    }
    if (problems.length) console.log(problems);
    await page.close();
  }
}
await browser.close();
