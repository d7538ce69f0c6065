import { chmod, mkdir, rm, writeFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { hostForThisFile } from "./support/each-test.js";

const host = hostForThisFile();

describe("settings that are broken", () => {
  const BROKEN = { version: 2, logLevel: "loud", rules: [{ name: "r", profile: "none" }], colour: "blue" };

  it("keep every guest from starting, and the user is told all that is wrong", async () => {
    const guest = await host().guest("web1", ["raw"]);
    await host().settings(BROKEN);
    const { code, stderr } = await host().refusedStart(guest);
    expect(code).toBe("SETTINGS_INVALID");
    for (const path of ["version", "logLevel", "rules[0].profile", "colour"])
      expect(stderr).toContain(`${path}: `);
    await host().settings({ version: 1 });
    await host().start(guest);
  });

  it("are no reason to leave the passphrases of a guest that stops on the host", async () => {
    const guest = await host().guest("web1", ["raw"]);
    await host().must("protect", "web1");
    await host().start(guest);
    expect(await host().libvirt.secretsLeft()).toHaveLength(1);
    await host().settings("{ not JSON");
    await host().stop(guest);
    expect(await host().libvirt.secretsLeft()).toEqual([]);
  });

  it("are refused where others than root can write them", async () => {
    const guest = await host().guest("web1", ["raw"]);
    await host().settings({ version: 1 });
    await chmod(host().inside("/etc/luksmith/settings.json"), 0o666);
    expect((await host().refusedStart(guest)).code).toBe("PERMISSIONS_UNSAFE");
  });

  it("cannot name a keystore that there is not", async () => {
    const guest = await host().guest("web1", ["raw"]);
    await host().settings({ version: 1, profiles: [{ name: "default", keystore: "vault" }] });
    expect((await host().refusedStart(guest)).code).toBe("SETTINGS_INVALID");
  });
});

describe("the log", () => {
  it("has one JSON object a line, with the words of the refusal", async () => {
    const guest = await host().guest('we"b\\1', ["raw"]);
    await host().must("protect", guest.uuid);
    await rm(guest.disks[0]!.path);
    const { hint } = await host().refusedStart(guest);
    const record = (await host().log()).find(({ level }) => level === "error");
    expect(record).toMatchObject({
      guest: guest.name,
      event: "pre-start",
      cause: "start",
      code: "VOLUME_NOT_FOUND",
      hint,
    });
    expect(Object.keys(record ?? {})).not.toContain("rendered");
  });

  it.each<[what: string, breakIt: (directory: string) => Promise<unknown>]>([
    ["is a file where its directory should be", (directory) => writeFile(directory, "")],
    ["is a directory", (directory) => mkdir(`${directory}/luksmith.log`, { recursive: true })],
  ])("stops no guest when it %s", async (_, breakIt) => {
    const guest = await host().guest("web1", ["raw"]);
    await host().settings({ version: 1, logFile: "/var/log/luksmith/nested/luksmith.log" });
    await breakIt(host().inside("/var/log/luksmith/nested"));
    const protect = await host().luksmith("protect", "web1");
    expect(protect).toMatchObject({
      exitCode: 0,
      stderr: expect.stringContaining("warning: cannot write the log") as string,
    });
    await host().start(guest);
    await host().stop(guest);
  });
});
