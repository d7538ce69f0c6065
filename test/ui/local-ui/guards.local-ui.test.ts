import { readFile } from "node:fs/promises";
import type { Page } from "playwright-core";
import { describe, expect, it } from "vitest";
import { localUiForThisFile } from "./each-test.js";
import { openProtect } from "./guests-page.js";
import { fieldsOf, openSettings, save, saveSuccessfully, textbox } from "./settings-page.js";

const ui = localUiForThisFile();

const LOCAL = { name: "local", type: "file" } as const;
const VAULT = {
  ...{ name: "vault", type: "vault", url: "https://vault.example" },
  auth: { method: "token" },
};

async function stored(): Promise<unknown> {
  return JSON.parse(await readFile(ui().host.inside("/etc/luksmith/settings.json"), "utf8"));
}

async function setByCommand(settings: object): Promise<void> {
  const { host } = ui();
  const input = JSON.stringify(settings);
  const { exitCode, stderr } = await host.libvirt.exec(host.command("settings", "set"), { input });
  expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
}

async function settingsPage(): Promise<Page> {
  const page = await ui().open();
  await openSettings(page);
  return page;
}

describe("a keystore that has keys of disks", () => {
  it.each([
    ["name", "Name", "other"],
    ["directory", "Directory", "/srv/keys"],
  ])("does not get another %s before somebody has typed its name", async (_, field, value) => {
    const { host } = ui();
    const settings = { version: 1, keystores: [LOCAL] };
    await host.settings(settings);
    await host.guest("web1", ["raw"]);
    await host.must("protect", "web1", "--now");
    const page = await settingsPage();
    await textbox(await fieldsOf(page, "local"), field).fill(value);
    await save(page);
    const question = page.getByRole("dialog", { name: "Save without the keys in local" });
    await question.getByText("1 disk has its key in it").waitFor();
    expect(await question.getByRole("button", { name: "Save all the same" }).isDisabled()).toBe(true);
    await question.getByRole("button", { name: "Do not save" }).click();
    await question.waitFor({ state: "hidden" });
    expect(await stored()).toEqual(settings);

    await save(page);
    await textbox(question, "Type local to save all the same").fill("local");
    await question.getByRole("button", { name: "Save all the same" }).click();
    await page.getByText("Saved.", { exact: true }).waitFor();
    expect(await stored()).not.toEqual(settings);
  });

  it("is asked about once where it is removed, and goes with the next save", async () => {
    await ui().host.settings({
      version: 1,
      keystores: [LOCAL, { ...LOCAL, name: "old", directory: "/srv/old" }],
    });
    const page = await settingsPage();
    await page.getByRole("button", { name: "Remove old" }).click();
    const question = page.getByRole("dialog", { name: "Remove old" });
    await question.getByRole("button", { name: "Remove", exact: true }).click();
    await saveSuccessfully(page);
    // what is left says no more than the default
    expect(await stored()).toEqual({ version: 1 });
  });
});

it("a stored secret that somebody else has removed is to be typed again, and is not claimed to be stored", async () => {
  await setByCommand({
    version: 1,
    keystores: [LOCAL, { ...VAULT, auth: { method: "token", token: "first" } }],
  });
  const page = await settingsPage();
  await textbox(await fieldsOf(page, "vault"), "Time limit").fill("20");
  await setByCommand({ version: 1, keystores: [LOCAL] });
  await save(page);
  await page.getByRole("button", { name: "Show my changes" }).click();
  await page.getByRole("button", { name: "Take mine" }).click();
  await page.getByRole("button", { name: "Keystores › vault › Authentication › Token" }).waitFor();
  const result = page.getByRole("group", { name: "Result of the last save" });
  await result.getByText("The stored secret was removed in the meantime. Type it in again.").waitFor();
  const fields = await fieldsOf(page, "vault");
  expect(await fields.getByText("A secret is stored").count()).toBe(0);
  await textbox(fields, "Token").fill("second");
  await saveSuccessfully(page);
  expect(await stored()).toMatchObject({ keystores: [LOCAL, { name: "vault", timeout: 20 }] });
});

it("Back closes the dialog of the page that it leaves, and the other page can be used", async () => {
  await ui().host.guest("web1", ["raw"]);
  const page = await settingsPage();
  await page.getByRole("link", { name: "Guests" }).click();
  const dialog = await openProtect(page, "web1");
  await dialog.waitFor();
  await page.goBack();
  await page.getByRole("button", { name: "Add keystore" }).click();
  await page.goForward();
  await page.getByRole("button", { name: "Stay" }).waitFor();
  expect(await page.locator("dialog").count()).toBe(1);
});
