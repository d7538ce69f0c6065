import { afterEach, describe, expect, it, vi } from "vitest";
import { checkMigration } from "../../src/cli/migrate-check.js";
import { Container } from "../../src/di.js";
import type { MigrateCheckOutput } from "../../src/generated/migrate-check.js";
import type { MigrationAnswer } from "../../src/generated/migration-answer.js";
import type { ConfiguredGuest, Guest } from "../../src/host/host-adapter.js";
import { loadManifest } from "../../src/manifest/load.js";
import { parseRoute, type RouteOptions } from "../../src/migration/transport.js";
import { parseSettings } from "../../src/settings/load.js";
import { HOST, SETTINGS } from "../../src/tokens.js";
import { FakeHostAdapter } from "../fake/fake-host-adapter.js";
import { disk, guestWith, uuid } from "../plan/builders.js";
import { luksmith } from "./luksmith.js";

/** A host with one guest that runs, and was given a second disk while it did. */
class FakeSource extends FakeHostAdapter {
  override readGuest(): Promise<ConfiguredGuest> {
    return Promise.resolve({ ...guestWith(disk("vda", 1)), running: true, saved: false });
  }
  override readRunningGuest(): Promise<Guest> {
    return Promise.resolve(guestWith(disk("vda", 1), disk("vdb", 2)));
  }
}

const TO = "qemu+ssh://host2/system";
const { version } = loadManifest();
const there = (device: string, n: number, content: "same" | "copied") => {
  return { device, volume: `/srv/vm/${device}.img`, key: uuid(n), openedBy: "native", content } as const;
};
const SHARED: MigrationAnswer = { version, disks: [there("vda", 1, "same"), there("vdb", 2, "same")] };

interface Run extends Partial<RouteOptions> {
  readonly form?: "json" | "text";
}

/** What the command prints, and its exit code. */
async function check(answer: MigrationAnswer | undefined, { form = "text", ...options }: Run = {}) {
  let stdout = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => (stdout += String(text)) !== "");
  const host = new FakeSource();
  host.migration.answerOfTarget = answer;
  const container = new Container()
    .value(HOST, host)
    .value(SETTINGS, parseSettings(JSON.stringify({ version: 1 }), "the test"));
  await checkMigration(container, "web1", { route: parseRoute({ to: TO, ...options }), form });
  return { stdout, exitCode: process.exitCode };
}

afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

describe("luksmith migrate-check", () => {
  it("shows disks, findings and the command, for the disks that the guest has now", async () => {
    const { stdout, exitCode } = await check(SHARED);
    expect(stdout).toBe(`web1 can migrate to ${TO}

DISK  CONTENT THERE  OPENED BY  KEY                                   VOLUME
vda   same           native     ${uuid(1)}  /srv/vm/vda.img
vdb   same           native     ${uuid(2)}  /srv/vm/vdb.img

ok: Luksmith ${version} answers there, the version of this host
warning: the guest's memory crosses the network in plaintext
cause: QEMU sends over TCP connections of its own; SSH encrypts only what the two libvirts say to each other
hint: use --tls, with certificates on both hosts (migrate_tls_x509_cert_dir in qemu.conf); or --tunnelled

virsh migrate --live --persistent --undefinesource web1 ${TO}
`);
    expect(exitCode).toBe(0);
  });

  it("has all of it in its JSON", async () => {
    const { stdout } = await check(SHARED, { form: "json", tls: true });
    const output = JSON.parse(stdout) as MigrateCheckOutput;
    expect(output).toMatchObject({
      guest: { name: "web1", running: true },
      target: TO,
      able: true,
      disks: SHARED.disks,
      findings: [{ level: "ok" }, { level: "ok" }],
      wires: [{ carries: "memory", protection: "encrypted" }],
      command: `virsh migrate --live --persistent --undefinesource --tls web1 ${TO}`,
    });
  });

  it.each([
    ["KEYSTORE_UNAVAILABLE", 4],
    ["LUKS_UUID_MISMATCH", 5],
    ["OF_A_NEWER_VERSION", 3],
    ["toString", 3],
  ])("ends with the exit code of what the target reports: %s, %d", async (code, exit) => {
    const problem = { code, what: "cannot take over guest web1: no", why: "it\u001b[2J", hint: "do this" };
    const answer = { version, disks: [], problem };
    const { stdout, exitCode } = await check(answer);
    expect(exitCode).toBe(exit);
    expect(stdout).toContain("web1 cannot migrate to");
    expect(stdout).toContain(
      "refused by the target: cannot take over guest web1: no\ncause: it\\u{1b}[2J\nhint: do this\n",
    );
    expect(stdout).not.toContain("virsh");
    expect(stdout).not.toContain("plaintext");
    expect(await check(answer, { form: "json" })).toMatchObject({
      exitCode: exit,
      stdout: expect.stringContaining('"able": false') as string,
    });
  });

  it("ends with 6 where no Luksmith answers for encrypted disks, with 3 where the way is wrong", async () => {
    expect((await check(undefined)).exitCode).toBe(6);
    expect((await check(SHARED, { copyStorage: true })).exitCode).toBe(3);
  });
});

describe("luksmith migrate-check on the command line", () => {
  it.each([
    [["web1"], "required option '--to <uri>' not specified"],
    [["web1", "--to", "host2"], "hint: for example: --to qemu+tls://host2/system"],
  ])("%j is wrong", (args, message) => {
    const { status, stderr } = luksmith(["migrate-check", ...args]);
    expect([status, stderr]).toEqual([2, expect.stringContaining(message)]);
  });

  it("says in its help where to run it, and how", () => {
    const { stdout } = luksmith(["migrate-check", "--help"]);
    expect(stdout.replace(/\s+/g, " ")).toContain("Run it on the source");
    expect(stdout).toContain("\n  luksmith migrate-check web1 --to qemu+tls://host2/system\n");
  });

  it("is for root", () => {
    expect(luksmith(["migrate-check", "web1", "--to", TO], { as: "nobody" }).status).toBe(6);
  });
});
