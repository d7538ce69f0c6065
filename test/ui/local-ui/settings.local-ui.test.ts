import { randomUUID } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { SettingsGetOutput } from "../../../src/generated/settings-get.js";
import { type BarbicanServer, startBarbican } from "../../lab/barbican-server.js";
import { freePort } from "../../lab/free-ports.js";
import { accessibilityProblems } from "../../lab/page-checks.js";
import { localUiForThisFile } from "./each-test.js";
import { isFocused } from "./focus.js";
import {
  addKeystore,
  fieldsOf,
  openSettings,
  save,
  saveSuccessfully,
  section,
  testConnection,
  textbox,
} from "./settings-page.js";

let barbican: BarbicanServer;
beforeAll(async () => {
  barbican = await startBarbican();
});
const ui = localUiForThisFile();
afterAll(() => barbican.stop());

let projectId: string;
beforeEach(() => {
  projectId = randomUUID();
});

const cloud = () => ({ name: "cloud", type: "barbican", url: barbican.url, projectId }) as const;

async function stored(): Promise<unknown> {
  return JSON.parse(await readFile(ui().host.inside("/etc/luksmith/settings.json"), "utf8"));
}

async function settingsPage(): Promise<Page> {
  const page = await ui().open();
  await openSettings(page);
  return page;
}

describe("a keystore", () => {
  it("is tried live against the real Barbican before it is saved, and saved as it was typed", async () => {
    const page = await settingsPage();
    const fields = await addKeystore(page, "OpenStack Barbican", "cloud");
    await textbox(fields, "Address").fill(`http://127.0.0.1:${await freePort()}`);
    await textbox(fields, "Project id").fill(projectId);
    const failed = await testConnection(page, "cloud");
    expect(failed).toContain("does not work");
    expect(failed).toContain("does not answer");
    expect(failed).toContain("What to do:");

    await textbox(fields, "Address").fill(barbican.url);
    const passed = await testConnection(page, "cloud");
    for (const check of ["The keystore works", "answers", "stored, fetched and deleted"])
      expect(passed).toContain(check);
    await expect(stored()).rejects.toThrow("ENOENT");

    await saveSuccessfully(page);
    expect(await stored()).toEqual({ version: 1, keystores: [{ name: "local", type: "file" }, cloud()] });
    expect((await ui().host.json("settings", "test", "cloud")) as object).toMatchObject({ ok: true });
  });

  it("is not removed while a profile uses it, and the page says which", async () => {
    await ui().host.settings({
      version: 1,
      keystores: [{ name: "local", type: "file" }, cloud()],
      profiles: [{ name: "default" }, { name: "gold", keystore: "cloud" }],
    });
    const page = await settingsPage();
    await page.getByRole("button", { name: "Remove cloud" }).click();
    const refusal = page.getByRole("dialog", { name: "Remove cloud" });
    await refusal.getByText("Profile gold uses it").waitFor();
    expect(await refusal.getByRole("button").allInnerTexts()).toEqual(["Keep it"]);
    await refusal.getByRole("button", { name: "Keep it" }).click();
    await refusal.waitFor({ state: "hidden" });
    await page.getByText("Nothing has been changed.").waitFor();
  });

  it("that is down is said to be, and works again when it is back, without loading the page anew", async () => {
    await ui().host.settings({ version: 1, keystores: [cloud(), { name: "local", type: "file" }] });
    const page = await settingsPage();
    expect(await testConnection(page, "cloud")).toContain("The keystore works");
    barbican.kill();
    try {
      expect(await testConnection(page, "cloud")).toContain("does not answer");
    } finally {
      await barbican.restart();
    }
    expect(await testConnection(page, "cloud")).toContain("The keystore works");
  });
});

describe("what is wrong", () => {
  it("is said at its field before anything is sent, and the summary leads there", async () => {
    const page = await settingsPage();
    const fields = await addKeystore(page, "OpenStack Barbican", "cloud");
    const address = textbox(fields, "Address");
    await address.fill("cloud.example:9311");
    await textbox(fields, "Project id").fill(projectId);
    await save(page);
    await page.getByText("Not saved: one thing is wrong").waitFor();
    expect(await address.getAttribute("aria-invalid")).toBe("true");
    await page.getByRole("button", { name: /cloud › Address/ }).click();
    expect(await isFocused(address)).toBe(true);
    await expect(stored()).rejects.toThrow("ENOENT");
  });

  it("is said at its field when only the host knows that it is", async () => {
    const page = await settingsPage();
    await sendAsOlderPage(page);
    const fields = await fieldsOf(page, "Header backups");
    const keep = textbox(fields, "Keep");
    await keep.fill("7");
    await save(page);
    await page.getByText("Not saved: one thing is wrong").waitFor();
    expect(await keep.getAttribute("aria-invalid")).toBe("true");
    await page.getByRole("button", { name: "Header backups › Keep" }).click();
    expect(await isFocused(keep)).toBe(true);
    await expect(stored()).rejects.toThrow("ENOENT");
  });
});

describe("two who change the settings at once", () => {
  it("overwrite nothing of each other's, and the slower one's change can be put on top", async () => {
    const { host } = ui();
    await host.settings({ version: 1, rules: [{ name: "finance", guest: "finance-*" }] });
    const page = await settingsPage();
    await textbox(await fieldsOf(page, "Header backups"), "Keep").fill("7");
    const faster = { version: 1, logLevel: "debug", rules: [{ name: "all" }] };
    await setByCommand(faster);

    await save(page);
    await page.getByText("Not saved: somebody else has changed the settings").waitFor();
    expect(await stored()).toEqual(faster);
    await page.getByRole("button", { name: "Show my changes" }).click();
    await page.getByRole("region", { name: "My changes" }).getByText("Header backups › Keep").waitFor();
    await page.getByRole("button", { name: "Put my changes on top of the new settings" }).click();
    await saveSuccessfully(page);
    expect(await stored()).toEqual({ ...faster, headers: { keep: 7 } });
  });

  it("who changed the same are asked which of the two it is to be", async () => {
    const page = await settingsPage();
    await textbox(await fieldsOf(page, "Header backups"), "Keep").fill("7");
    await setByCommand({ version: 1, headers: { keep: 9 } });
    await save(page);
    await page.getByRole("button", { name: "Show my changes" }).click();
    await page.getByText("they have changed this as well").waitFor();
    await page.getByRole("button", { name: "Take mine" }).click();
    await saveSuccessfully(page);
    expect(await stored()).toEqual({ version: 1, headers: { keep: 7 } });
  });
});

describe("what was typed is lost after a question only", () => {
  it("where all changes are undone", async () => {
    const page = await settingsPage();
    const keep = textbox(await fieldsOf(page, "Header backups"), "Keep");
    const before = await keep.inputValue();
    await keep.fill("7");
    await page.getByRole("button", { name: "Undo all changes" }).click();
    const question = page.getByRole("dialog", { name: "Undo without saving?" });
    expect(await accessibilityProblems(page)).toEqual([]);
    await question.getByRole("button", { name: "Keep them" }).click();
    expect(await keep.inputValue()).toBe("7");
    expect(await isFocused(page.getByRole("button", { name: "Undo all changes" }))).toBe(true);

    await page.getByRole("button", { name: "Undo all changes" }).click();
    await question.getByRole("button", { name: "Undo without saving" }).click();
    await page.getByText("Nothing has been changed.").waitFor();
    expect(await keep.inputValue()).toBe(before);
  });

  it("where the settings that somebody else has saved are loaded", async () => {
    const page = await settingsPage();
    const keep = textbox(await fieldsOf(page, "Header backups"), "Keep");
    await keep.fill("7");
    await setByCommand({ version: 1, headers: { keep: 9 } });
    await save(page);
    const load = page.getByRole("button", { name: "Load the new settings" });
    await load.click();
    const question = page.getByRole("dialog", { name: "Load without saving?" });
    await question.getByRole("button", { name: "Keep them" }).click();
    expect(await keep.inputValue()).toBe("7");
    expect(await isFocused(load)).toBe(true);

    await load.click();
    await question.getByRole("button", { name: "Load without saving" }).click();
    await expect.poll(() => keep.inputValue()).toBe("9");
  });
});

it("rules are shown with the guests that they match, before they are saved", async () => {
  const { host } = ui();
  for (const name of ["finance-1", "web-1"]) await host.guest(name, ["raw"]);
  const page = await settingsPage();
  await page.getByRole("button", { name: "Add rule" }).click();
  const added = page.getByRole("group", { name: "New rule" });
  await textbox(added, "Guest").fill("finance-*");
  await textbox(added, "Name").fill("finance");
  await page.getByRole("button", { name: "Which guests match" }).click();
  const rows = section(page, "Rules").getByRole("table").getByRole("row");
  await rows.filter({ hasText: "finance-1" }).getByText("must be encrypted").waitFor();
  await rows.filter({ hasText: "web-1" }).getByText("nobody asks").waitFor();
  await expect(stored()).rejects.toThrow("ENOENT");
});

it("settings that are saved stay as short as they are typed, and only root can change their file", async () => {
  const page = await settingsPage();
  await textbox(await fieldsOf(page, "Rotation"), "After days").fill("365");
  await saveSuccessfully(page);
  expect(await stored()).toEqual({ version: 1, rotation: { afterDays: 365 } });
  const { mode, uid } = await stat(ui().host.inside("/etc/luksmith/settings.json"));
  expect([mode & 0o777, uid]).toEqual([0o644, 0]);
  await textbox(await fieldsOf(page, "Rotation"), "After days").fill("");
  await saveSuccessfully(page);
  expect(await stored()).toEqual({ version: 1 });
});

/** What an administrator does beside. */
async function setByCommand(settings: object): Promise<void> {
  const { host } = ui();
  const { exitCode, stderr } = await host.libvirt.exec(host.command("settings", "set"), {
    input: JSON.stringify(settings),
  });
  expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
  const { stored: now } = (await host.json("settings", "get")) as SettingsGetOutput;
  expect(now).toEqual(settings);
}

/** From now on it sends what the host's schema no longer allows, as a page would that was loaded before an upgrade. */
async function sendAsOlderPage(page: Page): Promise<void> {
  await page.route("**/run", async (route) => {
    const body = route.request().postData() ?? "";
    await route.continue({ postData: body.replace('"keep":7', '"keep":700') });
  });
}
