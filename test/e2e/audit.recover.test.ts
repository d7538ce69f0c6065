import { execa } from "execa";
import { existsSync } from "node:fs";
import { copyFile, readFile, rm, writeFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import type { AuditEntry } from "../../src/audit/entry.js";
import { hostForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";

const host = hostForThisFile();
const LOG = "/var/log/luksmith/audit.log";

async function entries(...args: readonly string[]): Promise<AuditEntry[]> {
  return ((await host().json("audit", "show", ...args)) as { entries: AuditEntry[] }).entries;
}

/** `event result` of each entry about the key since the last call. */
function eventsSince(uuid: string): () => Promise<string[]> {
  let seen = 0;
  return async () => {
    const all = await entries("--key", uuid);
    const added = all
      .slice(seen)
      .flatMap((entry) => ("result" in entry ? [`${entry.event} ${entry.result}`] : []));
    seen = all.length;
    return added;
  };
}

async function recipient(): Promise<string> {
  const { stdout } = await execa("age-keygen");
  return /public key: (age1\S+)/.exec(stdout)![1]!;
}

/** Protected and formatted, and shut off. */
async function protectedGuest(): Promise<{ readonly guest: TestGuest; readonly uuid: string }> {
  const guest = await host().guest("web1", ["raw"]);
  await host().must("protect", "web1", "--now");
  return { guest, uuid: (await host().blocks(guest))["vda"]! };
}

describe("the audit log", () => {
  it("has what a guest's life does with its key", { timeout: 300_000 }, async () => {
    const { guest, uuid } = await protectedGuest();
    const events = eventsSince(uuid);
    expect(await events()).toEqual(["store done", "format done", "activate done"]);
    await host().start(guest);
    expect(await events()).toEqual(["provide done"]);
    const [last] = (await entries("--guest", "web1")).slice(-1);
    expect(last).toMatchObject({
      ...{ event: "provide", guest: { id: guest.uuid, name: "web1" }, disk: "vda" },
      ...{ volume: guest.disks[0]!.path, key: uuid, keystore: "local" },
      by: { command: "pre-start libvirt" },
    });
    await host().stop(guest);
    await host().must("rotate", "web1");
    expect(await events()).toContain("rotate done");
    await host().must("keys", "show", uuid);
    expect(await events()).toEqual(["show done"]);
    const to = await recipient();
    await host().must("keys", "export", uuid, "--recipient", to, "--output", "/var/lib/luksmith/out.age");
    expect(await events()).toEqual(["export done"]);
    const full = await host().luksmith(
      "keys",
      "export",
      uuid,
      "--recipient",
      to,
      "--output",
      "/dev/shm/no/out",
    );
    expect([full.exitCode, await events()]).toEqual([1, ["export failed"]]);
    const command = host().command("keys", "export", uuid, "--recipient", to).join(" ");
    expect((await host().libvirt.exec(["sh", "-c", `${command} > /dev/full`])).exitCode).toBe(1);
    // it may have been read: the beginning is recorded before, and how it ended
    expect(await events()).toEqual(["export done", "export failed"]);
    await host().libvirt.virsh("undefine", guest.uuid);
    await rm(guest.disks[0]!.path);
    await host().must("keys", "delete", uuid, "--volume-is-gone", "--yes");
    expect(await events()).toEqual(["delete done"]);
    expect(await host().must("audit", "verify")).toContain("entries fit");
  });

  it("has starts that were refused", { timeout: 120_000 }, async () => {
    const { guest, uuid } = await protectedGuest();
    const events = eventsSince(uuid);
    await events();
    await writeFile(guest.disks[0]!.path, Buffer.alloc(2 * 1024 * 1024), { flag: "r+" });
    const { code } = await host().refusedStart(guest);
    expect(await events()).toEqual(["provide failed"]);
    expect((await entries()).at(-1)).toMatchObject({ code });
  });

  it("names users and commands, and tells a guest without entries from one that is not there", async () => {
    await host().guest("drill", ["raw"]);
    await host().must("protect", "drill", "--now");
    const shown = await host().must("audit", "show", "--guest", "drill");
    expect(shown).toMatch(/ root +luksmith protect(?: |$)/m);
    expect(shown).not.toContain("luksmith protect drill");
    await host().guest("idle", ["raw"]);
    expect(await host().must("audit", "show", "--guest", "idle")).toContain("no such entry");
    const { exitCode, stderr } = await host().luksmith("audit", "show", "--guest", "nosuch");
    expect(exitCode).toBe(4);
    expect(stderr).toMatch(/^error: the audit log has no entry of a guest nosuch\n/);
  });

  it("shows what was changed, removed or cut off", { timeout: 120_000 }, async () => {
    const { guest } = await protectedGuest();
    await host().start(guest);
    await host().stop(guest);
    const path = host().inside(LOG);
    await copyFile(path, `${path}-kept`);
    const text = await readFile(path, "utf8");
    const lines = text.split("\n").slice(0, -1);
    const tampered = [
      text.replace('"web1"', '"web2"'),
      lines.filter((_, index) => index !== 1).join("\n") + "\n",
      lines.slice(0, -1).join("\n") + "\n",
      [lines[1], lines[0], ...lines.slice(2)].join("\n") + "\n",
    ];
    for (const changed of tampered) {
      await writeFile(path, changed);
      const { exitCode, stderr } = await host().luksmith("audit", "verify");
      expect([exitCode, stderr]).toEqual([5, expect.stringContaining("is not what was written")]);
    }
    await copyFile(`${path}-kept`, path);
    await rm(`${path}-kept`);
    expect(await host().must("audit", "verify")).toContain("entries fit");
    const hash = (await entries()).at(-1)!.hash;
    await host().must("audit", "verify", "--expect", hash);
  });
});

describe("with audit.required", () => {
  const required = (file: string) => host().settings({ version: 1, audit: { file, required: true } });

  it(
    "no guest starts whose use of keys cannot be recorded, and none is left half prepared",
    { timeout: 300_000 },
    async () => {
      const { guest, uuid } = await protectedGuest();
      const mount = ["sh", "-ec", "mkdir -p /run/full && mount -t tmpfs -o size=32k tmpfs /run/full"];
      expect((await host().libvirt.exec(mount)).exitCode).toBe(0);
      // not to be opened; no room; takes no byte, which nobody can tell before
      for (const file of ["/proc/luksmith/audit.log", "/run/full/audit.log", "/dev/full"]) {
        await required(file);
        expect((await host().refusedStart(guest)).code).toBe("AUDIT_UNWRITABLE");
        expect(await host().libvirt.secretsLeft()).toEqual([]);
        const output = "/var/lib/luksmith/out.age";
        const options = [uuid, "--recipient", await recipient(), "--output", output];
        expect((await host().luksmith("keys", "export", ...options)).exitCode).not.toBe(0);
        expect(existsSync(host().inside(output))).toBe(false);
      }
      await host().libvirt.exec(["umount", "/run/full"]);
      await required("/run/full/audit.log");
      await host().start(guest);
    },
  );

  it("a guest that runs keeps its secrets when the daemon restarts", { timeout: 120_000 }, async () => {
    const { guest, uuid } = await protectedGuest();
    await host().start(guest);
    await required("/proc/luksmith/audit.log");
    await host().libvirt.restartDaemon();
    expect(await host().isRunning(guest)).toBe(true);
    expect(await host().libvirt.secretsLeft()).toEqual([uuid]);
    const warnings = (await host().log()).filter(({ message }) =>
      message.includes("cannot write the audit log"),
    );
    expect(warnings.length).toBeGreaterThan(0);
  });
});
