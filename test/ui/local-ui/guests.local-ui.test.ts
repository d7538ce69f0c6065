import { randomUUID } from "node:crypto";
import { readFile, rename, truncate } from "node:fs/promises";
import type { Download, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StatusOutput } from "../../../src/generated/status.js";
import { BarbicanKeystore } from "../../../src/keystore/barbican/barbican-keystore.js";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import type { TestGuest } from "../../e2e/support/guests.js";
import { guestBytes, luksUuidOf, MIB, writeAt } from "../../e2e/support/volumes.js";
import { type BarbicanServer, startBarbican } from "../../lab/barbican-server.js";
import { localUiForThisFile } from "./each-test.js";
import { beginProtect, disk, openGuest, openProtect } from "./guests-page.js";

let barbican: BarbicanServer;
beforeAll(async () => {
  barbican = await startBarbican();
});
const ui = localUiForThisFile();
afterAll(() => barbican.stop());

/** Enough to see a copy going on. */
const SIZE = 192 * MIB;
const SHIM = "/etc/libvirt/hooks/qemu.d/luksmith";

describe("a guest is encrypted from the page", () => {
  it("with empty disks: after a look at what would be done, and its next start formats them", async () => {
    const { host } = ui();
    const guest = await host.guest("web1", ["raw", "qcow2"]);
    const before = await host.definition(guest);
    const page = await ui().open();
    const dialog = await openProtect(page, "web1");
    const plan = await beginProtect(dialog, "empty");
    expect(plan).toContain("Nothing has been changed yet");
    await dialog.getByText("Done. The guest's next start formats what is new.").waitFor();
    await dialog.getByRole("button", { name: "Close" }).click();
    await disk(page, "web1", "vdb").getByText("Pending").waitFor();

    expect(await host.definition(guest)).not.toBe(before);
    const blocks = await host.blocks(guest);
    expect(Object.keys(blocks)).toEqual(["vda", "vdb"]);
    await host.start(guest);
    for (const { dev, path, format } of guest.disks) expect(await luksUuidOf(path, format)).toBe(blocks[dev]);
    await page.getByRole("button", { name: "Read again" }).click();
    await disk(page, "web1", "vda").getByText("Protected").waitFor();
  });

  it("one disk of two, and the dry run alone changes nothing", async () => {
    const { host } = ui();
    const guest = await host.guest("web1", ["raw", "raw"]);
    const before = await host.definition(guest);
    const page = await ui().open();
    const dialog = await openProtect(page, "web1");
    await dialog.getByRole("checkbox", { name: "vda" }).uncheck();
    await dialog.getByRole("radio", { name: "They are new and empty" }).check();
    await dialog.getByRole("button", { name: "Show what would be done" }).click();
    await dialog.getByText("Nothing has been changed yet").waitFor();
    expect(await host.definition(guest)).toBe(before);
    await dialog.getByRole("button", { name: "Encrypt now" }).click();
    await dialog.getByText("Done. The guest's next start formats what is new.").waitFor();
    expect(Object.keys(await host.blocks(guest))).toEqual(["vdb"]);
  });

  it("with its data, which are copied in sight, and it starts with them", async () => {
    const { host } = ui();
    const { guest, text } = await guestWithData();
    const page = await ui().open();
    const dialog = await openProtect(page, "web1");
    await beginProtect(dialog, "convert");
    await dialog.getByRole("progressbar", { name: "copying, vda" }).waitFor();
    await dialog.getByText("Done. What was on the disks is encrypted.").waitFor({ timeout: 60_000 });
    await dialog.getByText("luksmith purge web1 vda").waitFor();

    const path = /<source file=["']([^"']+)["']/.exec(await host.definition(guest))?.[1] ?? "";
    expect(path).not.toBe(guest.disks[0]!.path);
    const { passphrase } = await host.key((await host.blocks(guest))["vda"]);
    using secret = passphrase;
    expect(String(await guestBytes(path, "raw", secret, 3 * MIB, text.length))).toBe(text);
    await host.start(guest);
  });

  it("that holds data is refused as empty, with what to do instead", async () => {
    await guestWithData();
    const page = await ui().open();
    const dialog = await openProtect(page, "web1");
    await dialog.getByRole("radio", { name: "They are new and empty" }).check();
    await dialog.getByRole("button", { name: "Show what would be done" }).click();
    await dialog.getByRole("alert").getByText("--convert").waitFor();
    expect(await dialog.getByRole("button", { name: "Encrypt now" }).count()).toBe(0);
  });
});

it("Ctrl-C waits for a conversion that the page has begun, and it ends well", async () => {
  const { host } = ui();
  const { guest } = await guestWithData();
  const server = await ui().serve();
  // in the end nobody answers it, which its console says
  await using visitor = await ui().browser.visitor();
  await visitor.page.goto(server.address);
  const dialog = await openProtect(visitor.page, "web1");
  await beginProtect(dialog, "convert");
  await dialog.getByRole("progressbar").waitFor();
  await server.interrupt();
  const { exitCode, stderr } = await server.ended;
  expect({ exitCode, stderr }).toEqual({
    exitCode: 0,
    stderr: expect.stringContaining("waiting for: luksmith protect") as string,
  });
  expect(Object.keys(await host.blocks(guest))).toEqual(["vda"]);
  await dialog.getByText("Done. What was on the disks is encrypted.").waitFor();
});

describe("while the keystore is away", () => {
  it("guests are shown all the same with what could not be found out, and it comes back", async () => {
    const { host } = ui();
    const projectId = randomUUID();
    const cloud = {
      name: "cloud",
      type: "barbican",
      url: barbican.url,
      projectId,
      timeout: 8,
      tls: {},
    } as const;
    await host.settings({ version: 1, keystores: [cloud] });
    await host.guest("web1", ["raw"]);
    await host.guest("web2", ["raw"]);
    await host.must("protect", "web1", "--now");
    const page = await ui().open();
    await openGuest(page, "web1");
    await disk(page, "web1", "vda").getByText("Protected").waitFor();
    barbican.kill();
    try {
      await page.getByRole("button", { name: "Read again" }).click();
      await page.getByRole("heading", { name: "Keystore cloud does not answer", level: 2 }).waitFor();
      await page.getByRole("button", { name: "web2", exact: true }).waitFor();
      await disk(page, "web1", "vda").getByText("Not known").waitFor();
    } finally {
      await barbican.restart();
    }
    await page.getByRole("button", { name: "Read again" }).click();
    await disk(page, "web1", "vda").getByText("Protected").waitFor();
    expect(await page.getByText("does not answer").count()).toBe(0);
    const keys = await new BarbicanKeystore(cloud, { runner: new ExecaCommandRunner() }).list();
    expect(keys).toHaveLength(1);
  });
});

it("what a crashed guest has left is shown, and withdrawn when that was seen", async () => {
  const { host } = ui();
  const guest = await host.guest("web1", ["raw"]);
  await host.must("protect", "web1", "--now");
  await host.start(guest);
  await stopWithoutHook(guest);
  const [uuid] = Object.values(await host.blocks(guest));
  expect(await host.libvirt.secretsLeft()).toEqual([uuid]);

  const page = await ui().open();
  await page.getByRole("button", { name: "Clean up leftovers" }).click();
  const dialog = page.getByRole("dialog", { name: "Clean up leftovers" });
  await dialog.getByText("Nothing has been changed yet").waitFor();
  await dialog.getByText("web1").first().waitFor();
  expect(await host.libvirt.secretsLeft()).toEqual([uuid]);
  await dialog.getByRole("button", { name: "Clean up" }).click();
  await dialog.getByText("All of it is gone.").waitFor();
  expect(await host.libvirt.secretsLeft()).toEqual([]);
});

it("the list is saved as JSON and as CSV, and both say what the command says", async () => {
  const { host } = ui();
  await host.guest("web1", ["raw", "qcow2"]);
  await host.must("protect", "web1", "--disk", "vda");
  const page = await ui().open();
  const json = await exported(page, "Export as JSON");
  const status = JSON.parse(json.text) as StatusOutput;
  expect(json.name).toMatch(/\.json$/);
  const { guests } = (await host.json("status", "--all")) as StatusOutput;
  expect(status.guests).toEqual(guests);
  const csv = await exported(page, "Export as CSV");
  expect(csv.name).toMatch(/\.csv$/);
  expect(linesBut(csv.text)).toEqual(linesBut(await host.must("status", "--all", "--format", "csv")));
  expect(csv.text).toContain("web1");
});

/** A guest that is shut off, with text in the middle of its raw disk. */
async function guestWithData(): Promise<{ readonly guest: TestGuest; readonly text: string }> {
  const guest = await ui().host.guest("web1", ["raw"]);
  const { path } = guest.disks[0]!;
  const text = "what was there before";
  await truncate(path, SIZE);
  await writeAt(path, 0, Buffer.alloc(SIZE, 0x5a));
  await writeAt(path, 3 * MIB, text);
  return { guest, text };
}

/** As after a crash of the host manager. */
async function stopWithoutHook(guest: TestGuest): Promise<void> {
  const { host } = ui();
  const [shim, away] = [host.inside(SHIM), host.inside("/etc/libvirt/shim-is-away")];
  await rename(shim, away);
  try {
    await host.stop(guest);
  } finally {
    await rename(away, shim);
  }
}

async function exported(
  page: Page,
  button: string,
): Promise<{ readonly name: string; readonly text: string }> {
  const coming = page.waitForEvent("download");
  await page.getByRole("button", { name: button }).click();
  const download: Download = await coming;
  return { name: download.suggestedFilename(), text: await readFile(await download.path(), "utf8") };
}

/** Without the time at which each of them was taken. */
function linesBut(csv: string): string[] {
  return csv.split("\n").map((line) => line.replaceAll(/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z/g, "TIME"));
}
