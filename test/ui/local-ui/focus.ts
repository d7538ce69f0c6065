import type { Locator, Page } from "playwright-core";

export async function isFocused(element: Locator): Promise<boolean> {
  return (await element.and(element.page().locator(":focus")).count()) === 1;
}

/** Tabs to the element as somebody does who has no mouse, and presses the key there. */
export async function pressAt(page: Page, element: Locator, key: string): Promise<void> {
  for (let tabs = 0; !(await isFocused(element)); tabs++) {
    if (tabs > 60) throw new Error(`the keyboard does not reach ${String(element)}`);
    await page.keyboard.press("Tab");
  }
  await page.keyboard.press(key);
}
