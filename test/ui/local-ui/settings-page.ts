import type { Locator, Page } from "playwright-core";

export async function openSettings(page: Page): Promise<void> {
  await page.getByRole("link", { name: "Settings" }).click();
  await page.getByRole("heading", { name: "Keystores" }).waitFor();
}

export type List = "Keystores" | "Profiles" | "Rules";

export function section(page: Page, list: List): Locator {
  return page.getByRole("region", { name: list });
}

/** The fields of the keystore, profile or rule of this name, or of a part of the policies; opened if they are not. */
export async function fieldsOf(page: Page, name: string): Promise<Locator> {
  const fields = page.getByRole("group", { name, exact: true });
  if (!(await fields.isVisible())) await page.getByRole("heading", { name, exact: true, level: 3 }).click();
  return fields;
}

export function textbox(fields: Locator, name: string): Locator {
  return fields.getByRole("textbox", { name, exact: true });
}

/** @returns the fields of the new keystore */
export async function addKeystore(page: Page, type: string, name: string): Promise<Locator> {
  await page.getByRole("button", { name: "Add keystore" }).click();
  const added = page.getByRole("group", { name: "New keystore" });
  await added.getByRole("combobox", { name: "Type", exact: true }).selectOption({ label: type });
  await textbox(added, "Name").fill(name);
  return page.getByRole("group", { name, exact: true });
}

/** Runs the live test of a keystore. @returns its result in words, a line for each thing */
export async function testConnection(page: Page, keystore: string): Promise<string> {
  await page.getByRole("button", { name: `Test connection to ${keystore}` }).click();
  const verdict = page.getByText(/The keystore (works|does not work)/);
  const result = section(page, "Keystores").getByRole("status").filter({ has: verdict });
  return result.innerText();
}

export async function save(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Save", exact: true }).click();
}

/** Saves, and waits until the page says that it is done. */
export async function saveSuccessfully(page: Page): Promise<void> {
  await save(page);
  await page.getByText("Saved.", { exact: true }).waitFor();
}
