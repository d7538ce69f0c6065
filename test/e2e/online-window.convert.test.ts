import { execa } from "execa";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it, vi } from "vitest";
import { type Command, type CommandRunner, ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { LibvirtMirror } from "../../src/host/libvirt/mirror.js";
import { Virsh } from "../../src/host/libvirt/virsh.js";
import { VolumeLocks } from "../../src/storage/volume-lock.js";
import type { TestGuest } from "./support/guests.js";
import { hostForThisFile } from "./support/each-test.js";
import { convertRunning, jobOf, killQemu, volumeOf } from "./support/online.js";
import { makeVolume } from "./support/volumes.js";
import { defineWriter, progressOf, writesOn } from "./support/writing-guest.js";

const host = hostForThisFile();
// guests write on meanwhile, on a machine that is busy with other tests
vi.setConfig({ testTimeout: 180_000 });

// the moment between "the running guest has the new volume" and "its configuration says so": whatever ends there, no
// write that the guest was told of may be missing on the volume that its next start takes

type Run = (command: Command) => ReturnType<CommandRunner["run"]>;
type Moment = (guest: TestGuest, pivot: Command, run: Run) => ReturnType<CommandRunner["run"]>;

const MOMENTS: Readonly<Record<string, Moment>> = {
  "the guest is paused": async (guest, pivot, run) => {
    await killQemu(host(), guest);
    return await run(pivot);
  },
  "QEMU has given the guest the new volume, and libvirtd is killed": async (guest, pivot, run) => {
    const jobs = await host().libvirt.virsh(
      "qemu-monitor-command",
      guest.uuid,
      '{"execute":"query-block-jobs"}',
    );
    const id = /"device":"([^"]+)"/.exec(jobs)?.[1] ?? "";
    const complete = JSON.stringify({ execute: "job-complete", arguments: { id } });
    await host().libvirt.exec([
      "sh",
      "-c",
      `virsh qemu-monitor-command ${guest.uuid} '${complete}'; kill -9 $(cat /run/libvirtd.pid); sleep 0.3
       kill -9 $(cat /run/libvirt/qemu/${guest.name}.pid)`,
    ]);
    await host().libvirt.startDaemon();
    while (await host().isRunning(guest)) await sleep(50);
    return await run(pivot);
  },
  "libvirt has given the guest the new volume": async (guest, pivot, run) => {
    const answer = await run(firstOf(pivot));
    await killQemu(host(), guest);
    return answer;
  },
};

it.each(Object.entries(MOMENTS))("QEMU dies when %s: both volumes hold all", async (_, moment) => {
  const guest = await writer();
  const to = await mirrored(guest);
  let written = 0;
  const mirror = mirrorWith(async (pivot, run) => {
    written = (await progressOf(host(), guest))!.written;
    return await moment(guest, pivot, run);
  });
  await expect(mirror.complete(named(guest), "vda", plain(to))).rejects.toMatchObject({
    code: "GUEST_NOT_RUNNING",
  });
  await execa("qemu-img", ["compare", "-f", "raw", "-F", "raw", "--", guest.disks[0]!.path, to]);
  expect(written).toBeGreaterThan(0);
  await host().start(guest);
  const { began } = await writesOn(host(), guest);
  expect((began - 1) * 256).toBeGreaterThanOrEqual(written - 256);
});

it("a conversion that is killed while the guest is paused: the next call lets it run, on the new volume", async () => {
  const guest = await writer();
  const path = host().newPath("raw");
  const encrypted = await convertRunning(host(), guest, "vda", { to: "encrypted", path });
  expect(encrypted.stderr).toBe("");
  const to = await pausedWith(guest);
  const { stdout, stderr } = await convertRunning(host(), guest, "vda", { to: "plain", path: to });
  expect(stderr).toBe("");
  expect(stdout).toContain("let the guest run again");
  expect([await stateOf(guest), await volumeOf(host(), guest, "vda", "persistent")]).toEqual(["running", to]);
  await writesOn(host(), guest);
});

it("luksmith reap lets it run again, leaves its copy as it is, and ends nobody else's pause", async () => {
  const guest = await writer();
  const other = await host().guest("paused", ["raw"]);
  await host().start(other);
  await host().libvirt.virsh("suspend", other.uuid);
  const to = await pausedWith(guest);
  expect(await host().must("reap", "--dry-run")).toBe("would wake paused guest writer\n");
  expect(await stateOf(guest)).toBe("paused");
  expect(await host().json("reap")).toEqual({
    clean: true,
    leftovers: [
      {
        ...{ kind: "paused-guest", name: guest.uuid, outcome: "cleaned" },
        guest: { id: guest.uuid, name: "writer" },
      },
    ],
  });
  expect([await stateOf(guest), await stateOf(other)]).toEqual(["running", "paused"]);
  expect(await jobOf(host(), guest, "vda")).toContain("Block Copy");
  await writesOn(host(), guest);
  expect(await host().must("reap")).toContain("nothing to do");
  const mirror = mirrorWith((pivot, run) => run(pivot));
  await mirror.complete(named(guest), "vda", plain(to));
  await writesOn(host(), guest);
});

it("two disks of a guest get their volumes at once, and the guest is paused for neither afterwards", async () => {
  const guest = await writer("vdb");
  const [a, b] = [await mirrored(guest, "vda"), await mirrored(guest, "vdb")];
  const mirror = mirrorWith((pivot, run) => run(pivot));
  await Promise.all([
    mirror.complete(named(guest), "vda", plain(a)),
    mirror.complete(named(guest), "vdb", plain(b)),
  ]);
  expect(await stateOf(guest)).toBe("running");
  const persistent = ["vda", "vdb"].map((dev) => volumeOf(host(), guest, dev, "persistent"));
  expect(await Promise.all(persistent)).toEqual([a, b]);
  await writesOn(host(), guest);
});

async function writer(...more: readonly string[]): Promise<TestGuest> {
  const disks = ["vda", ...more].map((dev) => ({ dev, path: host().newPath("raw"), format: "raw" as const }));
  for (const { path } of disks) await makeVolume(path, "raw");
  const guest = await defineWriter(host(), { name: "writer", disks });
  await host().start(guest);
  await writesOn(host(), guest);
  return guest;
}

/** Resolves to the new volume when all is copied to it. */
async function mirrored(guest: TestGuest, dev = "vda"): Promise<string> {
  const to = host().newPath("raw");
  await makeVolume(to, "raw");
  const mirror = mirrorWith((pivot, run) => run(pivot));
  await mirror.start(named(guest), dev, plain(to));
  while ((await mirror.look(named(guest), dev)).kind !== "ready") await sleep(50);
  return to;
}

/** Resolves to the new volume, in whose moment the process that gives it to the guest was killed. */
async function pausedWith(guest: TestGuest): Promise<string> {
  const to = await mirrored(guest);
  const mirror = mirrorWith(() => Promise.reject(new Error("killed")));
  await expect(mirror.complete(named(guest), "vda", plain(to))).rejects.toThrow("killed");
  expect(await stateOf(guest)).toBe("paused");
  return to;
}

/** libvirt's, in which this happens in the place of the command that gives the guest its new volume. */
function mirrorWith(pivoting: (pivot: Command, run: Run) => ReturnType<CommandRunner["run"]>): LibvirtMirror {
  const real = new ExecaCommandRunner();
  const run: Run = (command) => real.run(command);
  const runner: CommandRunner = {
    hold: (command) => real.hold(command),
    run: (command) =>
      command.args.at(-1)?.includes("--pivot") === true ? pivoting(command, run) : run(command),
  };
  return new LibvirtMirror(
    new Virsh(host().libvirt.uri, runner),
    new VolumeLocks(real, join(host().libvirt.dir, "locks")),
  );
}

function firstOf(command: Command): Command {
  const script = command.args.at(-1) ?? "";
  return { ...command, args: [...command.args.slice(0, -1), script.split("; ")[0] ?? ""] };
}

function plain(path: string) {
  return { volume: { kind: "file", path, format: "raw" } } as const;
}

function named({ uuid, name }: TestGuest) {
  return { id: uuid, name };
}

async function stateOf(guest: TestGuest): Promise<string> {
  return (await host().libvirt.virsh("domstate", guest.uuid)).trim();
}
