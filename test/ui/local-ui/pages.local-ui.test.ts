import { randomUUID } from "node:crypto";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type BarbicanServer, startBarbican } from "../../lab/barbican-server.js";
import { accessibilityProblems, screenshot } from "../../lab/page-checks.js";
import { localUiForThisFile } from "./each-test.js";
import { isFocused, pressAt } from "./focus.js";
import { beginProtect, openGuest, openProtect } from "./guests-page.js";
import { furnish } from "./scene.js";
import { fieldsOf, openSettings, testConnection } from "./settings-page.js";

let barbican: BarbicanServer;
beforeAll(async () => {
  barbican = await startBarbican();
});
const ui = localUiForThisFile();
afterAll(() => barbican.stop());

const SCHEMES = ["light", "dark"] as const;
/** Bytes of a picture in which hardly anything is to be seen. */
const EMPTY_PICTURE = 20_000;
const NARROW = { width: 360, height: 740 };

it(
  "all that a busy host shows can be read by everybody, in light and dark",
  { timeout: 180_000 },
  async () => {
    await furnish(ui().host, { name: "cloud", type: "barbican", url: barbican.url, projectId: randomUUID() });
    const page = await ui().open({ viewport: { width: 1280, height: 1160 } });
    await openGuest(page, "finance-ledger");
    const guests = await picturesOf(page, "guests");
    for (const name of ["finance-archive", "old-mail"]) await openGuest(page, name);
    await page.locator("summary").first().click();
    await expectAccessible(page, "guests that are open");
    await expectFits(page, "guests that are open");

    await openSettings(page);
    expect(await testConnection(page, "cloud")).toContain("The keystore works");
    const settings = await picturesOf(page, "settings");
    for (const name of ["cloud", "finance"]) await fieldsOf(page, name);
    await page.getByRole("button", { name: "Which guests match" }).click();
    await page.getByRole("table").waitFor();
    await expectAccessible(page, "settings that are open");
    await expectFits(page, "settings that are open");
    expect(new Set([...guests, ...settings].map((picture) => picture.toString("base64"))).size).toBe(4);
  },
);

it("every dialog can be read by everybody, in light and dark, and on a telephone", async () => {
  await ui().host.guest("web1", ["raw"]);
  const page = await ui().open();
  const protect = await openProtect(page, "web1");
  await expectAccessible(page, "protect");
  await expectFits(page, "protect");
  await beginProtect(protect, "empty");
  await protect.getByText("Done. The guest's next start formats what is new.").waitFor();
  await expectAccessible(page, "what was done");
  await protect.getByRole("button", { name: "Close" }).click();

  await page.getByRole("button", { name: "Clean up leftovers" }).click();
  const reap = page.getByRole("dialog", { name: "Clean up leftovers" });
  await reap.getByText("Nothing is left over.").waitFor();
  await expectAccessible(page, "clean up");
  await reap.getByRole("button", { name: "Close" }).click();

  await openSettings(page);
  await page.getByRole("button", { name: "Remove local" }).click();
  await page.getByRole("dialog", { name: "Remove local" }).waitFor();
  await expectAccessible(page, "remove a keystore");
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Add keystore" }).click();
  await page.getByRole("link", { name: "Guests" }).click();
  await page.getByRole("dialog", { name: "Leave without saving?" }).waitFor();
  await expectAccessible(page, "leave without saving");
  await page.getByRole("button", { name: "Stay" }).click();
  await expectFits(page, "a new keystore");
});

it("a guest is encrypted without a mouse, and the focus is never lost", async () => {
  const { host } = ui();
  const guest = await host.guest("web1", ["raw"]);
  const page = await ui().open();
  const row = page.getByRole("button", { name: "web1", exact: true });
  await row.waitFor();
  await pressAt(page, row, "Enter");
  const begin = page.getByRole("button", { name: "Encrypt disks of web1" });
  await pressAt(page, begin, "Enter");
  const dialog = page.getByRole("dialog", { name: "Encrypt disks of web1" });
  await pressAt(page, dialog.getByRole("radio", { name: "They hold data: copy and encrypt" }), "ArrowDown");
  expect(await dialog.getByRole("radio", { name: "They are new and empty" }).isChecked()).toBe(true);
  await pressAt(page, dialog.getByRole("button", { name: "Show what would be done" }), "Enter");
  await dialog.getByRole("button", { name: "Encrypt now" }).waitFor();
  // the button that was pressed is gone, and nothing takes its place that a second Enter could press
  const heading = dialog.getByRole("heading", { name: "Encrypt disks of web1" });
  await expect.poll(() => isFocused(heading)).toBe(true);
  await pressAt(page, dialog.getByRole("button", { name: "Encrypt now" }), "Enter");
  await dialog.getByText("Done. The guest's next start formats what is new.").waitFor();
  // there is nothing left to encrypt: the button that has opened the dialog is gone before the dialog is
  await begin.waitFor({ state: "detached" });
  await pressAt(page, dialog.getByRole("button", { name: "Close" }), "Enter");
  await dialog.waitFor({ state: "detached" });
  expect(await isFocused(row)).toBe(true);
  expect(Object.keys(await host.blocks(guest))).toEqual(["vda"]);
});

it("the focus goes to the guest where its button is taken away", async () => {
  await ui().host.guest("web1", ["raw"]);
  const page = await ui().open();
  await openGuest(page, "web1");
  await page.getByRole("button", { name: "Encrypt disks of web1" }).focus();
  await ui().host.must("protect", "web1");
  // not by the button of the page, which would have the focus
  await page.evaluate("document.querySelector('.luksmith-reading button').click()");
  await page.getByRole("button", { name: "Encrypt disks of web1" }).waitFor({ state: "detached" });
  expect(await isFocused(page.getByRole("button", { name: "web1", exact: true }))).toBe(true);
});

it("a click beside everything takes the focus away, and nothing brings it back", async () => {
  await ui().host.guest("web1", ["raw"]);
  const page = await ui().open();
  await openGuest(page, "web1");
  await page.getByRole("button", { name: "Encrypt disks of web1" }).focus();
  await page.getByText("Luksmith", { exact: true }).click();
  await ui().host.must("protect", "web1");
  await page.evaluate("document.querySelector('.luksmith-reading button').click()");
  await page.getByRole("button", { name: "Encrypt disks of web1" }).waitFor({ state: "detached" });
  expect(await page.evaluate("document.activeElement === document.body")).toBe(true);
});

/** One in each scheme, which axe-core looks at as well. */
async function picturesOf(page: Page, name: string): Promise<Buffer[]> {
  const pictures: Buffer[] = [];
  for (const colorScheme of SCHEMES) {
    await page.emulateMedia({ colorScheme });
    expect(await accessibilityProblems(page), `${name}, ${colorScheme}`).toEqual([]);
    const picture = await screenshot(page, `local-${name}-${colorScheme}`);
    expect(picture.length).toBeGreaterThan(EMPTY_PICTURE);
    pictures.push(picture);
  }
  return pictures;
}

async function expectAccessible(page: Page, what: string): Promise<void> {
  for (const colorScheme of SCHEMES) {
    await page.emulateMedia({ colorScheme });
    expect(await accessibilityProblems(page), `${what}, ${colorScheme}`).toEqual([]);
  }
}

/** On a telephone nothing has to be moved sideways. */
async function expectFits(page: Page, what: string): Promise<void> {
  const before = page.viewportSize();
  await page.setViewportSize(NARROW);
  const width = await page.evaluate<number>("document.documentElement.scrollWidth");
  expect(width, what).toBeLessThanOrEqual(NARROW.width);
  expect(await accessibilityProblems(page), `${what}, narrow`).toEqual([]);
  if (before !== null) await page.setViewportSize(before);
}
