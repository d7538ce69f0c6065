import { readFile } from "node:fs/promises";
import type { Frame, Page } from "playwright-core";
import { describe, expect, it } from "vitest";
import { accessibilityProblems } from "../../lab/page-checks.js";
import { cockpitForThisFile } from "./each-test.js";

const cockpit = cockpitForThisFile();

function settingsFile(): Promise<string> {
  return readFile(cockpit().host.inside("/etc/luksmith/settings.json"), "utf8");
}

describe("an administrator", () => {
  it("finds the page in Cockpit's menu, and the host's guests on it", async () => {
    await cockpit().host.guest("web1", ["raw"]);
    const page = await cockpit().visit("root");
    await page.getByRole("link", { name: "Disk encryption" }).click();
    const frame = page.frameLocator('iframe[name="cockpit1:localhost/luksmith"]');
    await frame.getByRole("heading", { name: "Guests" }).waitFor();
    await frame.getByRole("button", { name: "web1" }).click();
    await frame.getByText("Not encrypted").first().waitFor();
  });

  it("changes a setting", async () => {
    await cockpit().host.settings({ version: 1, headers: { keep: 5 } });
    const { frame } = await cockpit().open("root");
    await frame.getByRole("link", { name: "Settings" }).click();
    const keep = frame.getByRole("group", { name: "Header backups" }).getByLabel("Keep", { exact: true });
    expect(await keep.inputValue()).toBe("5");
    await keep.fill("7");
    await frame.getByRole("button", { name: "Save", exact: true }).click();
    await frame.getByText("Saved.", { exact: true }).waitFor();
    expect(JSON.parse(await settingsFile())).toEqual({ version: 1, headers: { keep: 7 } });
  });

  it("encrypts the disks of a guest: its definition says so, and it starts", async () => {
    const { host } = cockpit();
    const guest = await host.guest("web1", ["raw", "qcow2"]);
    const { frame } = await cockpit().open("root");
    await protect(frame, "web1", "They are new and empty");
    await frame.getByText("Done. The guest's next start formats what is new.").waitFor();
    expect(Object.keys(await host.blocks(guest))).toEqual(["vda", "vdb"]);
    await host.start(guest);
    expect(await host.isRunning(guest)).toBe(true);
  });

  it("encrypts what is on a disk, and sees how far it is", async () => {
    const { host } = cockpit();
    const guest = await host.guest("web1", ["raw"]);
    const { frame } = await cockpit().open("root");
    await protect(frame, "web1", "They hold data: copy and encrypt");
    await frame.getByText("Done. What was on the disks is encrypted.").waitFor();
    expect(Object.keys(await host.blocks(guest))).toEqual(["vda"]);
  });

  it("is told when the host manager is away, and sees the guests when it is back", async () => {
    const { host } = cockpit();
    await host.guest("web1", ["raw"]);
    await host.libvirt.stopDaemon();
    try {
      const { frame } = await cockpit().open("root");
      await frame.getByRole("alert").getByText("What to do:").waitFor();
      await host.libvirt.startDaemon();
      await frame.getByRole("button", { name: "Try again" }).click();
      await frame.getByRole("button", { name: "web1" }).waitFor();
    } finally {
      await host.libvirt.startDaemon().catch(() => undefined);
    }
  });
});

describe("somebody who is no administrator", () => {
  it("is told so, on both pages, and sees no guest", async () => {
    await cockpit().host.guest("web1", ["raw"]);
    const { frame } = await cockpit().open("nobody");
    await frame.getByText("Only an administrator may do this.").waitFor();
    expect(await frame.getByText("web1").count()).toBe(0);
    await frame.getByRole("link", { name: "Settings" }).click();
    await frame
      .getByText(/administrator/)
      .locator("visible=true")
      .first()
      .waitFor();
    expect(await frame.getByRole("button", { name: "Save", exact: true }).count()).toBe(0);
    expect(await accessibilityProblems(frame)).toEqual([]);
  });
});

describe("Cockpit's look", () => {
  it("is followed: when the user chooses dark, the page is dark at once", async () => {
    const { page, frame } = await cockpit().open("root");
    await frame.getByRole("heading", { name: "Guests" }).waitFor();
    expect(await brightness(frame)).toBeGreaterThan(200);
    await chooseStyle(page, "Dark");
    await expect.poll(() => brightness(frame)).toBeLessThan(60);
    await chooseStyle(page, "Light");
    await expect.poll(() => brightness(frame)).toBeGreaterThan(200);
  });

  it.each(["light", "dark"] as const)("leaves nothing that axe-core has to say: %s", async (colorScheme) => {
    await cockpit().host.guest("web1", ["raw"]);
    const { frame } = await cockpit().open("root", { colorScheme });
    await frame.getByRole("button", { name: "web1" }).click();
    expect(await accessibilityProblems(frame)).toEqual([]);
    await frame.getByRole("link", { name: "Settings" }).click();
    await frame.getByRole("heading", { name: "Keystores" }).waitFor();
    expect(await accessibilityProblems(frame)).toEqual([]);
  });

  it("fits the screen of a telephone", async () => {
    await cockpit().host.guest("web1", ["raw"]);
    const { frame } = await cockpit().open("root", { viewport: { width: 360, height: 740 } });
    await frame.getByRole("button", { name: "web1" }).click();
    expect(await overflow(frame)).toBe(0);
    await frame.getByRole("link", { name: "Settings" }).click();
    await frame.getByRole("heading", { name: "Keystores" }).waitFor();
    expect(await overflow(frame)).toBe(0);
  });
});

async function protect(frame: Frame, guest: string, content: string): Promise<void> {
  await frame.getByRole("button", { name: guest }).click();
  await frame.getByRole("button", { name: /^Encrypt/ }).click();
  const dialog = frame.getByRole("dialog", { name: `Encrypt disks of ${guest}` });
  await dialog.getByRole("radio", { name: content }).check();
  await dialog.getByRole("button", { name: "Show what would be done" }).click();
  await dialog.getByRole("button", { name: "Encrypt now" }).click();
}

async function chooseStyle(page: Page, style: "Dark" | "Light"): Promise<void> {
  await page.getByRole("button", { name: "Session" }).click();
  await page.getByRole("button", { name: style, exact: true }).click();
}

/** Of the background, from 0 to 255. */
async function brightness(frame: Frame): Promise<number> {
  const colour = await frame.evaluate<string>("getComputedStyle(document.documentElement).backgroundColor");
  const [red = 0, green = 0, blue = 0] = [...colour.matchAll(/\d+/g)].map(Number);
  return (red + green + blue) / 3;
}

/** Pixels that are out of sight at the side. */
function overflow(frame: Frame): Promise<number> {
  return frame.evaluate<number>(
    "document.documentElement.scrollWidth - document.documentElement.clientWidth",
  );
}
