import { expect, it } from "vitest";
import { screenshot } from "../../lab/page-checks.js";
import { furnish } from "../local-ui/scene.js";
import { cockpitForThisFile } from "./each-test.js";

const cockpit = cockpitForThisFile();

it("takes pictures of both pages for the documentation, in light and dark", async () => {
  await furnish(cockpit().host, { name: "main", type: "file", directory: "/var/lib/luksmith/main" });
  for (const colorScheme of ["light", "dark"] as const) {
    const { page, frame } = await cockpit().open("root", {
      colorScheme,
      viewport: { width: 1280, height: 900 },
    });
    await frame.getByRole("button", { name: "finance-ledger" }).click();
    const guests = await screenshot(page, `cockpit-guests-${colorScheme}`);
    await frame.getByRole("link", { name: "Settings" }).click();
    await frame.getByRole("heading", { name: "Keystores" }).waitFor();
    const settings = await screenshot(page, `cockpit-settings-${colorScheme}`);
    // an empty page of this size has some 5 KiB
    for (const image of [guests, settings]) expect(image.length).toBeGreaterThan(40_000);
  }
});
