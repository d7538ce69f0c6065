import { randomUUID } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { copyFile, readFile, rm } from "node:fs/promises";
import { beforeEach, describe, expect, it } from "vitest";
import type { StatusOutput } from "../../src/generated/status.js";
import { hostForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";
import { writeAt } from "./support/volumes.js";

const host = hostForThisFile();
const FILE = "/var/lib/luksmith/status.prom";

/** Whose private half nobody needs here. */
const RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

const ASKS = { version: 1, rules: [{ name: "confidential", guest: "web*" }] };

let web: TestGuest;

/** One guest that is protected, one of which nobody asks it. */
beforeEach(async () => {
  web = await host().guest("web1", ["raw", "qcow2"]);
  await host().guest("lab", ["raw"]);
  await host().must("protect", "web1", "--now");
  await host().settings(ASKS);
});

async function proof(): Promise<{ exitCode: number; status: StatusOutput }> {
  const { exitCode, stdout } = await host().luksmith("status", "--all", "--json");
  return { exitCode, status: JSON.parse(stdout) as StatusOutput };
}

describe("status --all", () => {
  it("says of every guest what was asked and what is true, and that they agree", async () => {
    const { exitCode, status } = await proof();
    expect(exitCode).toBe(0);
    expect(status.summary).toMatchObject({ guests: 2, disks: { protected: 2, plain: 1, unprotected: 0 } });
    expect(status.keystores).toEqual([{ name: "local", type: "file", answers: true }]);
    const [vda, vdb] = status.guests.find(({ name }) => name === "web1")!.disks;
    expect(vda).toMatchObject({
      verdict: "protected",
      askedBy: ["rule confidential"],
      keyslots: 1,
      recovery: [],
    });
    expect(Date.parse(vda!.keyCreatedAt!)).toBeGreaterThan(Date.parse(status.takenAt!) - 60_000);
    expect(vdb).toMatchObject({
      verdict: "protected",
      format: "luks",
      cipher: "aes-xts-plain64",
      keySize: 512,
    });

    const { exitCode: code, stdout, stderr } = await host().luksmith("status", "--all");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(
      /^2 guests, 3 disks: 2 protected, 1 plain, as nobody asks for more\nkeystore local answers\n/,
    );
  });

  it("believes the header, and not the record: a disk whose header was wiped is unproven", async () => {
    await writeAt(web.disks[0]!.path, 0, Buffer.alloc(4096));
    const { exitCode, status } = await proof();
    expect(exitCode).toBe(4);
    expect(status.summary!.disks).toMatchObject({ protected: 1, unproven: 1 });
  });

  it("takes no disk of this host for somebody else's when all keystores are empty", async () => {
    await rm(host().keystoreDirectory, { recursive: true });
    // nobody asks for it any more: the configuration and what this host remembers are all that is left
    await host().settings({ version: 1 });
    const { exitCode, status } = await proof();
    expect(exitCode).toBe(4);
    expect(status.summary!.disks).toMatchObject({ unproven: 2, foreign: 0, plain: 1 });
    const [vda] = status.guests.find(({ name }) => name === "web1")!.disks;
    expect(vda).toMatchObject({ protection: "unknown", format: "luks", keyslots: 1 });
    expect(vda!.headerCopyAt).toBeDefined();
    expect(vda!.problem).toMatchObject({
      code: "KEY_NOT_FOUND",
      why: "this host has a copy of its LUKS header",
      hint: `bring its keystore back, or: luksmith recover ${web.disks[0]!.path}`,
    });
    const { stdout } = await host().luksmith("status", "--all");
    expect(stdout).toContain(`its key ${vda!.key!} is in no keystore`);
    const metrics = await host().luksmith("status", "--all", "--format", "prometheus");
    expect(metrics.exitCode).toBe(4);
    expect(metrics.stdout).toContain('luksmith_disks{verdict="unproven"} 2\n');

    // of a key that it has never heard of it says what the header says
    await rm(host().inside("/var/lib/luksmith/headers"), { recursive: true });
    const { status: foreign } = await proof();
    expect(foreign.summary!.disks).toMatchObject({ unproven: 0, foreign: 2 });
    const [disk] = foreign.guests.find(({ name }) => name === "web1")!.disks;
    expect(disk).toMatchObject({ verdict: "foreign", format: "luks", keySize: 512 });
  });

  it("says of a disk that was shredded that it was, and of its header put back that it is unproven", async () => {
    const header = await readFile(web.disks[0]!.path);
    await host().must("shred", "web1", "vda", "--yes-i-mean", "web1");
    const { exitCode, status } = await proof();
    expect(status.summary!.disks).toMatchObject({ protected: 1, shredded: 1, unproven: 0, foreign: 0 });
    expect(exitCode).toBe(0);
    await writeAt(web.disks[0]!.path, 0, header.subarray(0, 2 * 1024 * 1024));
    const { exitCode: back, status: now } = await proof();
    expect(back).toBe(4);
    expect(now.summary!.disks).toMatchObject({ shredded: 0, unproven: 1 });
  });

  it("tells copies, also those that have a key of their own", async () => {
    const [original] = web.disks;
    const copy = host().newPath("raw");
    await copyFile(original!.path, copy);
    const { vda } = await host().blocks(web);
    const disks = [{ ...original!, path: copy, secretUuid: vda! }];
    await host().define({ name: "clone", uuid: randomUUID(), disks });
    const diskOf = (status: StatusOutput, guest: string) =>
      status.guests.find(({ name }) => name === guest)!.disks[0];
    expect(diskOf((await proof()).status, "clone")).toMatchObject({
      copyOf: original!.path,
      sameVolumeKey: ["web1 vda"],
    });
    await host().settings({ version: 1, profiles: [{ name: "default", recovery: [RECIPIENT] }] });
    await host().must("separate", "clone");
    const { status } = await proof();
    expect(diskOf(status, "clone")).toMatchObject({
      ...{ verdict: "protected", sameVolumeKey: ["web1 vda"] },
      // as the settings want of every disk that is encrypted
      ...{ keyslots: 2, recovery: ["recipients"] },
    });
    expect(diskOf(status, "clone")!.copyOf).toBeUndefined();
    expect(diskOf(status, "web1")!.sameVolumeKey).toEqual(["clone vda"]);
    expect((await host().luksmith("status", "--all")).stdout).toContain(
      "hint: luksmith rotate --deep clone --disk vda",
    );
  });

  it("ends with 5 and names the disk that is plain although it is asked for", async () => {
    await host().guest("web2", ["raw"]);
    const { exitCode, stdout, stderr } = await host().luksmith("status", "--all");
    expect(exitCode).toBe(5);
    expect(stdout).toContain("1 plain although encryption is asked for");
    expect(stderr).toMatch(
      /^error: 1 disk is plain although encryption is asked for\ncause: web2 vda\nhint: /,
    );
    const { exitCode: code, status } = await proof();
    expect({ code, unprotected: status.summary!.disks.unprotected }).toEqual({ code: 5, unprotected: 1 });
  });

  it("ends with 4 where a keystore does not answer, and shows the others", async () => {
    const auth = { method: "token", tokenFile: "/nowhere" };
    const vault = { name: "far", type: "vault", url: "http://127.0.0.1:1", auth };
    await host().settings({ ...ASKS, keystores: [{ name: "local", type: "file" }, vault] });
    const { exitCode, status } = await proof();
    expect(exitCode).toBe(4);
    expect(status.keystores?.map(({ name, answers }) => [name, answers])).toEqual([
      ["local", true],
      ["far", false],
    ]);
    expect(status.summary!.disks.protected).toBe(2);
  });

  it("writes metrics and tables for others, whole, into a file that a collector can read", async () => {
    await host().must("status", "--all", "--format", "prometheus", "--output", FILE);
    const path = host().inside(FILE);
    expect(readFileSync(path, "utf8")).toContain('luksmith_disks{verdict="protected"} 2\n');
    expect(statSync(path).mode & 0o777).toBe(0o644);
    await host().must("status", "--all", "--format", "csv", "--output", FILE);
    expect(readFileSync(path, "utf8").split("\r\n")).toHaveLength(5);
    const { exitCode, stderr } = await host().luksmith(
      ...["status", "--all", "--format", "csv", "--output", "/nowhere/status.csv"],
    );
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^error: cannot write \/nowhere\/status.csv\ncause: /);
  });

  it.each([
    ["a guest", ["status", "web1", "--all"]],
    ["csv of what is not all", ["status", "--format", "csv"]],
    ["a file of what is not all", ["status", "--output", FILE]],
  ])("refuses %s", async (_, args) => {
    expect((await host().luksmith(...args)).exitCode).toBe(2);
  });
});
