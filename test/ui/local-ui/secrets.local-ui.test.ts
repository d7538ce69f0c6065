import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Locator, Page } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Cloud, startCloud } from "../../lab/cloud.js";
import { localUiForThisFile } from "./each-test.js";
import {
  addKeystore,
  fieldsOf,
  openSettings,
  saveSuccessfully,
  testConnection,
  textbox,
} from "./settings-page.js";

let cloud: Cloud;
beforeAll(async () => {
  cloud = await startCloud({ regions: { one: {} } });
});
const ui = localUiForThisFile();
afterAll(() => cloud[Symbol.asyncDispose]());

const SECRETS = "/etc/luksmith/secrets";
/** Everywhere that Luksmith and libvirt write to. */
const WRITTEN = ["/etc/luksmith", "/etc/libvirt", "/run", "/var/lib/luksmith", "/var/log/luksmith"];

it(
  "a password is tried as it is typed, kept in a file of its own, and never comes back",
  { timeout: 120_000 },
  async () => {
    const tenant = await cloud.tenant(["creator"]);
    const page = await ui().open();
    const answers = await answersTo(page);
    await page.reload();
    await openSettings(page);
    const fields = await addKeystore(page, "OpenStack Barbican", "cloud");
    await fields
      .getByRole("combobox", { name: "Method" })
      .selectOption({ label: "A user's name and password" });
    await textbox(fields, "Keystone address").fill(cloud.keystone.url);
    await textbox(fields, "User").fill(tenant.user);
    await textbox(fields, "Project").fill(tenant.project);
    await passwordIn(fields).fill("not the password");
    expect(await testConnection(page, "cloud")).toContain("does not work");
    await passwordIn(fields).fill(tenant.password);
    expect(await testConnection(page, "cloud")).toContain("It knows Luksmith");
    expect(await filesWith(tenant.password)).toEqual([]);

    await saveSuccessfully(page);
    const [file = "", ...more] = await readdir(ui().host.inside(SECRETS));
    expect(more).toEqual([]);
    const path = join(SECRETS, file);
    expect(await filesWith(tenant.password)).toEqual([path]);
    const { mode, uid } = await stat(ui().host.inside(path));
    expect([mode & 0o777, uid]).toEqual([0o600, 0]);
    expect(await stored()).toContain(path);

    await page.reload();
    const again = await fieldsOf(page, "cloud");
    await again.getByText("A secret is stored; leave empty to keep it.").waitFor();
    expect(await passwordIn(again).inputValue()).toBe("");
    expect(await testConnection(page, "cloud")).toContain("It knows Luksmith");
    await textbox(await fieldsOf(page, "Header backups"), "Keep").fill("7");
    await saveSuccessfully(page);
    expect(await readdir(ui().host.inside(SECRETS))).toEqual([file]);
    expect((await ui().host.json("settings", "test", "cloud")) as object).toMatchObject({ ok: true });

    expect(await page.content()).not.toContain(tenant.password);
    expect(answers.length).toBeGreaterThan(5);
    expect(answers.filter((text) => text.includes(tenant.password))).toEqual([]);
  },
);

/** What scripts of the page get to read from now on; the list grows. */
async function answersTo(page: Page): Promise<readonly string[]> {
  const answers: string[] = [];
  await page.exposeFunction("hear", (text: string) => answers.push(text));
  await page.addInitScript(`
    const { fetch } = window;
    window.fetch = async (...request) => {
      const answer = await fetch(...request);
      void answer.clone().text().then(window.hear);
      return answer;
    };`);
  return answers;
}

/** It has no role: what is typed in is not read out. */
function passwordIn(fields: Locator): Locator {
  return fields.getByLabel(/^Password\s*\*?$/);
}

async function stored(): Promise<string> {
  return readFile(ui().host.inside("/etc/luksmith/settings.json"), "utf8");
}

async function filesWith(secret: string): Promise<string[]> {
  const { stdout } = await ui().host.libvirt.exec(
    ["grep", "--recursive", "--files-with-matches", "--fixed-strings", "--file=-", "--", ...WRITTEN],
    { input: secret },
  );
  return stdout.split("\n").filter((line) => line !== "");
}
