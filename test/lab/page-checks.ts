import axe from "axe-core";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Frame, Page } from "playwright-core";

/** What axe-core has against the document as it is now, a line for each place. */
export async function accessibilityProblems(document: Page | Frame): Promise<string[]> {
  // the protocol evaluates it, which no content security policy forbids
  await document.evaluate(axe.source);
  const { violations } = await document.evaluate<axe.AxeResults>("axe.run(document)");
  return violations.flatMap(({ id, help, nodes }) =>
    nodes.map(({ target }) => `${id}: ${help}: ${target.join(" ")}`),
  );
}

/** The page as a PNG; written into the directory that SCREENSHOTS names, if it names one, under this name. */
export async function screenshot(page: Page, name: string): Promise<Buffer> {
  const image = await page.screenshot({ animations: "disabled", caret: "hide" });
  const directory = process.env["SCREENSHOTS"];
  if (directory !== undefined) {
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, `${name}.png`), image);
  }
  return image;
}
