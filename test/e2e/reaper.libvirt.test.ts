import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { ReapOutput } from "../../src/generated/reap.js";
import { hostForThisFile } from "./support/each-test.js";
import { FLAVOR_ASKS, guestXml, type TestGuest } from "./support/guests.js";
import { hookCall, savedStart } from "./support/hook-calls.js";
import { expectFinished, keepWorld, runAgain, sweep } from "./support/kill-sweep.js";
import { expectNothingLeft } from "./support/nothing-left.js";

const host = hostForThisFile();
const TIMEOUT = 240_000;
const NOTHING = "nothing to do: guests that do not run have left nothing\n";
const SHIM = "/etc/libvirt/hooks/qemu.d/luksmith";

async function reap(): Promise<ReapOutput> {
  return (await host().json("reap")) as ReapOutput;
}

async function secretUuids(guest: TestGuest): Promise<string[]> {
  return Object.values(await host().blocks(guest)).sort();
}

async function left(): Promise<string[]> {
  return (await host().libvirt.secretsLeft()).sort();
}

/** A guest that libvirt has stopped without our hook, as after a crash of the host manager. */
async function crashed(name: string, disks: ("raw" | "qcow2")[]): Promise<TestGuest> {
  const guest = await host().guest(name, disks);
  await host().must("protect", name, "--now");
  await host().start(guest);
  await withoutHook(() => host().stop(guest));
  return guest;
}

async function withoutHook(work: () => Promise<void>): Promise<void> {
  const [shim, away] = [host().inside(SHIM), host().inside("/etc/libvirt/shim-is-away")];
  await rename(shim, away);
  try {
    await work();
  } finally {
    await rename(away, shim);
  }
}

describe("what a guest has left that was stopped without our hook", () => {
  it("is withdrawn, be the guest defined or not; foreign secrets and running guests keep theirs", async () => {
    const [defined, gone] = [await crashed("web1", ["raw", "qcow2"]), await crashed("web2", ["raw"])];
    const running = await host().guest("web3", ["raw"]);
    await host().must("protect", "web3", "--now");
    await host().start(running);
    const orphans = [...(await secretUuids(defined)), ...(await secretUuids(gone))];
    await host().libvirt.virsh("undefine", gone.uuid);
    const foreign = randomUUID();
    await defineForeignSecret(foreign);
    expect((await host().json("reap", "--dry-run")) as ReapOutput).toMatchObject({ clean: false });
    expect(await left()).toEqual([...orphans, ...(await secretUuids(running)), foreign].sort());

    const { clean, leftovers } = await reap();
    expect(clean).toBe(true);
    expect(leftovers.map(({ kind, name, outcome }) => [kind, name, outcome]).sort()).toEqual(
      orphans.map((uuid) => ["host-secret", uuid, "cleaned"]).sort(),
    );
    expect(leftovers).toContainEqual(
      expect.objectContaining({ guest: { id: defined.uuid, name: "web1" }, disk: "vdb" }),
    );
    expect(await left()).toEqual([...(await secretUuids(running)), foreign].sort());
    expect(await host().must("reap")).toBe(NOTHING);
    expect((await host().log()).filter(({ message }) => message.startsWith("withdrew"))).toHaveLength(3);
  });

  it("is withdrawn by its next start, as far as that does not need it", async () => {
    const guest = await crashed("web1", ["raw", "raw"]);
    const { vda, vdb } = await host().blocks(guest);
    expect(await left()).toEqual([vda, vdb].sort());
    await host().libvirt.virsh("detach-disk", guest.uuid, "vdb", "--config");
    await host().start(guest);
    expect(await left()).toEqual([vda]);
    await host().stop(guest);
    expect(await left()).toEqual([]);
  });
});

describe("a guest that is being started", () => {
  it("keeps its secrets between our hook's end and QEMU's start, however often it is reaped", async () => {
    const guest = await crashed("web1", ["raw"]);
    const [uuid] = await secretUuids(guest);
    const other = await crashed("web2", ["raw"]);
    const marker = join(host().libvirt.dir, "prepared");
    const slow = host().inside("/etc/libvirt/hooks/qemu.d/slow");
    await writeFile(slow, `#!/bin/sh\n[ "$2" != prepare ] || { : >${marker}; sleep 3; }\n`, { mode: 0o755 });
    const starting = host().start(guest);
    await until(() => readdirSync(host().libvirt.dir).includes("prepared"));
    // libvirt answers it when the hook has ended: by then the guest runs
    const { leftovers } = await reap();
    expect(leftovers.map(({ guest: of }) => of?.name)).toEqual(["web2"]);
    await starting;
    await rm(slow);
    expect(await left()).toEqual([uuid]);
    expect(await host().isRunning(guest)).toBe(true);
    expect(await host().isRunning(other)).toBe(false);
  });

  it("starts while it is being reaped, time and again", { timeout: TIMEOUT }, async () => {
    const guest = await crashed("web1", ["raw"]);
    const uuids = await secretUuids(guest);
    for (let n = 0; n < 4; n++) {
      const reaping = host().must("reap");
      await sleep(100 * n);
      await host().start(guest);
      await reaping;
      expect(await left()).toEqual(uuids);
      await withoutHook(() => host().stop(guest));
    }
    await reap();
  });

  it("is cleaned by libvirt's own call of our hook when the first one is killed", async () => {
    const guest = await host().guest("web1", ["qcow2", "qcow2"], { metadata: FLAVOR_ASKS });
    await host().must("protect", "web1");
    const starting = host().libvirt.exec(["virsh", "-c", "qemu:///system", "start", guest.uuid]);
    await until(() => hooks().length > 0);
    await host().libvirt.exec(["kill", "-KILL", ...hooks()]);
    expect((await starting).exitCode).toBe(1);
    expect([await left(), await host().isRunning(guest)]).toEqual([[], false]);
    expect(await host().must("reap")).toBe(NOTHING);
  });

  it("leaves nothing when libvirtd is killed with it", async () => {
    const guest = await host().guest("web1", ["qcow2", "qcow2"]);
    await host().must("protect", "web1");
    const starting = host().libvirt.exec(["virsh", "-c", "qemu:///system", "start", guest.uuid]);
    await until(() => hooks().length > 0);
    await host().libvirt.exec(["sh", "-c", "kill -KILL $(cat /run/libvirtd.pid)"]);
    await starting;
    await until(() => hooks().length === 0);
    await rm(host().inside("/run/libvirtd.pid"));
    await host().libvirt.startDaemon();
    await reap();
    await expectNothingLeft(host());
    await host().start(guest);
    await host().stop(guest);
  });
});

it(
  "what a first start left that was killed at any call is reaped, and the next start finishes",
  { timeout: TIMEOUT },
  async () => {
    const guest = await host().guest("web1", ["raw", "raw"], {
      metadata: FLAVOR_ASKS,
      blocks: "of unknown keys",
    });
    const stdin = await savedStart(host(), guest);
    const [start, stop] = [
      hookCall(host(), "pre-start", guest, stdin),
      hookCall(host(), "post-stop", guest, stdin),
    ];
    const reset = await keepWorld(host());
    let found = 0;
    await sweep({
      ...{ host: host(), guest, process: start, kills: 6, reset },
      goOn: async (when) => {
        const secrets = (await left()).length;
        found += secrets;
        expect((await reap()).leftovers, when).toHaveLength(secrets);
        expect(await left(), when).toEqual([]);
        await runAgain(host(), start, when);
        expect(await left(), when).toHaveLength(2);
        await runAgain(host(), stop, when);
        await expectFinished(host(), guest, when);
      },
    });
    expect(found).toBeGreaterThan(0);
  },
);

it("a libvirtd that is down is said, with an exit code that means: try again later", async () => {
  await host().libvirt.stopDaemon();
  try {
    const { exitCode, stderr } = await host().luksmith("reap");
    expect([exitCode, stderr.split("\n")[0]]).toEqual([4, expect.stringContaining("cannot reach libvirt")]);
  } finally {
    await host().libvirt.startDaemon();
  }
});

it("redefining a guest with other disks keeps no old secret when it starts", async () => {
  const guest = await crashed("web1", ["raw"]);
  const other = await host().guest("web2", ["raw"]);
  await host().libvirt.virsh("undefine", other.uuid);
  await host().libvirt.define(guestXml({ ...guest, disks: other.disks }));
  await host().must("protect", "web1", "--now");
  await host().start(guest);
  expect(await left()).toEqual(await secretUuids(guest));
});

async function defineForeignSecret(uuid: string): Promise<void> {
  const file = join(host().libvirt.dir, "foreign.xml");
  await writeFile(
    file,
    `<secret ephemeral='yes' private='yes'><uuid>${uuid}</uuid><usage type='volume'><volume>/other</volume></usage></secret>`,
  );
  await host().libvirt.virsh("secret-define", file);
}

/** Processes of our hook for a start, as the private host numbers them. */
function hooks(): string[] {
  const proc = host().inside("/proc");
  return readdirSync(proc).filter(
    (pid) => /^[0-9]+$/.test(pid) && /^[^\0]*node\0[^\0]*pre-start\.js\0/.test(commandLine(join(proc, pid))),
  );
}

function commandLine(process: string): string {
  try {
    return readFileSync(join(process, "cmdline"), "utf8");
  } catch {
    // it has ended meanwhile
    return "";
  }
}

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    if (tries > 2000) throw new Error("it never came");
    await sleep(5);
  }
}
