import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { cockpitForThisFile } from "./each-test.js";

const DIRECTORY = "/usr/local/share/cockpit/luksmith";
const cockpit = cockpitForThisFile();

async function menu(): Promise<string[]> {
  const page = await cockpit().visit("root");
  await page.getByRole("link", { name: "Terminal" }).waitFor();
  return page.getByRole("navigation").getByRole("link").allInnerTexts();
}

describe("the page in Cockpit", () => {
  it("goes with luksmith, and comes back with it", async () => {
    const { host } = cockpit();
    expect(await host.must("uninstall", "--host", "libvirt")).toContain(`removed: ${DIRECTORY}\n`);
    expect(existsSync(host.inside(DIRECTORY))).toBe(false);
    expect(await menu()).not.toContain("Disk encryption");
    expect(await host.must("install", "--host", "libvirt")).toContain(`installed: ${DIRECTORY}\n`);
    expect(await menu()).toContain("Disk encryption");
  });

  it("of somebody else is left alone, and said to be", async () => {
    const { host } = cockpit();
    await host.must("uninstall", "--host", "libvirt");
    await host.libvirt.exec(["sh", "-c", `mkdir -p ${DIRECTORY}; echo theirs >${DIRECTORY}/engine.js`]);
    try {
      expect(await host.must("install", "--host", "libvirt")).toContain(`left alone: ${DIRECTORY}`);
      expect((await host.libvirt.exec(["cat", `${DIRECTORY}/engine.js`])).stdout).toBe("theirs\n");
    } finally {
      await host.libvirt.exec(["rm", "-r", DIRECTORY]);
      await host.install();
    }
  });
});
