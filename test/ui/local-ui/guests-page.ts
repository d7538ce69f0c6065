import type { Locator, Page } from "playwright-core";

/** Opens what is known of a guest, if it is not open. */
export async function openGuest(page: Page, name: string): Promise<void> {
  const guest = page.getByRole("button", { name, exact: true });
  if ((await guest.getAttribute("aria-expanded")) === "false") await guest.click();
}

/** A disk of a guest that is open. */
export function disk(page: Page, guest: string, device: string): Locator {
  const heading = page.getByRole("heading", { name: new RegExp(`^${device} `) });
  return page
    .getByRole("list", { name: `Disks of ${guest}` })
    .getByRole("listitem")
    .filter({ has: heading });
}

/** The dialog in which disks of a guest are encrypted. */
export async function openProtect(page: Page, guest: string): Promise<Locator> {
  await openGuest(page, guest);
  await page.getByRole("button", { name: `Encrypt disks of ${guest}` }).click();
  return page.getByRole("dialog", { name: `Encrypt disks of ${guest}` });
}

export const CONTENTS = {
  empty: "They are new and empty",
  convert: "They hold data: copy and encrypt",
} as const;

/** Goes through the dialog to where the work has begun. @returns what it said would be done */
export async function beginProtect(dialog: Locator, content: keyof typeof CONTENTS): Promise<string> {
  await dialog.getByRole("radio", { name: CONTENTS[content] }).check();
  await dialog.getByRole("button", { name: "Show what would be done" }).click();
  const confirm = dialog.getByRole("button", { name: "Encrypt now" });
  await confirm.waitFor();
  const plan = await dialog.innerText();
  await confirm.click();
  return plan;
}
