import { describe, expect, it } from "vitest";
import type { SettingsPreviewOutput } from "../../src/generated/settings-preview.js";
import { hostForThisFile } from "./support/each-test.js";
import { luksmithMetadata } from "./support/guests.js";

const host = hostForThisFile();

const GIVEN = {
  version: 1,
  profiles: [{ name: "default" }, { name: "gold", hash: "sha512" }],
  rules: [{ name: "finance", guest: "web*", profile: "gold" }],
};

/** Of settings that are not saved. */
function preview(...options: readonly string[]) {
  const argv = host().command("settings", "preview", ...options);
  return host().libvirt.exec(argv, { input: JSON.stringify(GIVEN) });
}

describe("settings preview", () => {
  it("tells of each disk of each guest what would be wished, and changes nothing", async () => {
    const web = await host().guest("web1", ["raw", "qcow2"]);
    const lab = await host().guest("lab", ["raw"]);
    const before = await Promise.all([web, lab].map((guest) => host().definition(guest)));

    const { exitCode, stdout, stderr } = await preview("--json");
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    const { guests } = JSON.parse(stdout) as SettingsPreviewOutput;
    const asked = { rule: "finance", wish: "encrypted", profile: "gold", askedBy: ["rule finance"] };
    expect(guests.sort((a, b) => b.name.localeCompare(a.name))).toEqual([
      {
        ...{ id: web.uuid, name: "web1" },
        disks: web.disks.map(({ dev, path }) => ({ device: dev, volume: path, ...asked })),
      },
      {
        ...{ id: lab.uuid, name: "lab" },
        disks: [{ device: "vda", volume: lab.disks[0]?.path, wish: "none", askedBy: [] }],
      },
    ]);

    const table = await preview();
    expect(table).toMatchObject({ exitCode: 0, stderr: "" });
    const [heading = "", ...rows] = table.stdout.trimEnd().split("\n");
    expect(cellsOf(heading)).toEqual(["GUEST", "DISK", "RULE", "WISH", "PROFILE", "ASKED BY"]);
    expect(rows.map(cellsOf).sort()).toEqual([
      ["lab", "vda", "-", "none", "-", "-"],
      ["web1", "vda", "finance", "encrypted", "gold", "rule finance"],
      ["web1", "vdb", "finance", "encrypted", "gold", "rule finance"],
    ]);

    expect(await Promise.all([web, lab].map((guest) => host().definition(guest)))).toEqual(before);
    expect(await host().json("settings", "get")).toMatchObject({ stored: { version: 1 } });
    expect(await host().json("keys", "list")).toEqual({ keys: [] });
  });

  it("tells why a guest cannot be read, beside the others", async () => {
    await host().guest("odd", ["raw"], { metadata: luksmithMetadata("enabled='perhaps'") });
    await host().guest("web1", ["raw"]);

    const { exitCode, stdout } = await preview("--json");
    expect(exitCode).toBe(0);
    const { guests } = JSON.parse(stdout) as SettingsPreviewOutput;
    expect(guests.find(({ name }) => name === "odd")).toMatchObject({
      ...{ disks: [], problem: { code: "REQUEST_INVALID" } },
    });
    expect(guests.find(({ name }) => name === "web1")?.disks).toHaveLength(1);

    const table = await preview();
    expect(table.exitCode).toBe(0);
    expect(table.stdout).toMatch(/^odd +- +- +unknown +- +-$/m);
    expect(table.stdout).toMatch(/^web1 +vda +finance +encrypted /m);
    expect(table.stdout).toMatch(/^odd: .+perhaps/m);
  });
});

function cellsOf(row: string): string[] {
  return row.trimEnd().split(/ {2,}/);
}
