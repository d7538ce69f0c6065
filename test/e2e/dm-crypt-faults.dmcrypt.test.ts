import { execFileSync } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";
import { hookCall, type SavedCall, savedStart } from "./support/hook-calls.js";
import { kernelMappings } from "./support/kernel-devices.js";
import { runAgain, sweep } from "./support/kill-sweep.js";
import { guestOn, mappedDisks } from "./support/mapped.js";
import { expectNothingLeft } from "./support/nothing-left.js";
import { volumesForThisFile } from "./support/volume-group.js";
import { makeVolume } from "./support/volumes.js";

const TIMEOUT = 600_000;
vi.setConfig({ testTimeout: TIMEOUT, hookTimeout: TIMEOUT });

const volumes = volumesForThisFile();
const host = hostForThisFile();

interface MappedGuest extends TestGuest {
  /** Of its disks, in /dev/mapper. */
  readonly mappings: readonly string[];
}

/** A guest with formatted disks, which dm-crypt decrypts. */
async function mappedGuest(...paths: readonly string[]): Promise<MappedGuest> {
  const guest = await guestOn(host(), "web1", ...paths);
  await host().must("protect", "web1", "--engine", "dm-crypt", "--now");
  const mapped = Object.values(await mappedDisks(host(), guest));
  return { ...guest, mappings: mapped.map(({ device }) => device) };
}

async function onVolumeAndFile(): Promise<MappedGuest> {
  const image = host().newPath("raw");
  await makeVolume(image, "raw");
  return mappedGuest(volumes.newVolume(), image);
}

/** The kernel's word: a node in /dev/mapper can go before the mapping does. */
function isOpen(device: string): boolean {
  return kernelMappings().some(({ name }) => device === `/dev/mapper/${name}`);
}

function expectOpen({ mappings }: MappedGuest, when = ""): void {
  expect(
    mappings.filter((device) => !isOpen(device)),
    when,
  ).toEqual([]);
}

function expectClosed({ mappings }: MappedGuest, when = ""): void {
  expect(
    mappings.filter((device) => isOpen(device)),
    when,
  ).toEqual([]);
}

function reap(): SavedCall {
  return { argv: host().command("reap"), stdin: "" };
}

function killQemu({ name }: TestGuest): void {
  const pid = readFileSync(host().inside(`/run/libvirt/qemu/${name}.pid`), "utf8");
  execFileSync("nsenter", [`--target=${hostPid()}`, "--pid", "--mount", "--", "kill", "-KILL", pid.trim()]);
}

function hostPid(): string {
  return /^\/proc\/([0-9]+)\//.exec(host().libvirt.root)![1]!;
}

describe("a hook that is killed at any call", () => {
  it("of a start: the next start, the stop or luksmith reap cleans up", async () => {
    const guest = await onVolumeAndFile();
    const stdin = await savedStart(host(), guest);
    const [start, stop] = [
      hookCall(host(), "pre-start", guest, stdin),
      hookCall(host(), "post-stop", guest, stdin),
    ];
    const next = taking(
      async (when) => {
        await runAgain(host(), start, when);
        expectOpen(guest, when);
        await runAgain(host(), stop, when);
      },
      (when) => runAgain(host(), stop, when),
      (when) => runAgain(host(), reap(), when),
    );
    await sweep({
      ...{ host: host(), guest, process: start, kills: 9 },
      reset: () => runAgain(host(), stop, "before"),
      goOn: async (when) => {
        await next(when);
        expectClosed(guest, when);
        await expectNothingLeft(host());
      },
    });
  });

  it("of a stop: the next stop, the next start or luksmith reap cleans up", async () => {
    const guest = await onVolumeAndFile();
    const stdin = await savedStart(host(), guest);
    const [start, stop] = [
      hookCall(host(), "pre-start", guest, stdin),
      hookCall(host(), "post-stop", guest, stdin),
    ];
    const next = taking(
      (when) => runAgain(host(), stop, when),
      async (when) => {
        await runAgain(host(), start, when);
        expectOpen(guest, when);
        await runAgain(host(), stop, when);
      },
      (when) => runAgain(host(), reap(), when),
    );
    await sweep({
      ...{ host: host(), guest, process: stop, kills: 6 },
      reset: () => runAgain(host(), start, "before"),
      goOn: async (when) => {
        await next(when);
        expectClosed(guest, when);
        await expectNothingLeft(host());
      },
    });
  });
});

describe("a QEMU that is killed", () => {
  it("is noticed by libvirtd, which has its mappings closed", async () => {
    const guest = await onVolumeAndFile();
    await host().start(guest);
    expectOpen(guest);
    killQemu(guest);
    await vi.waitFor(() => expectClosed(guest), { timeout: 60_000, interval: 200 });
    await vi.waitFor(() => expectNothingLeft(host()), { timeout: 60_000, interval: 500 });
  });

  it("while libvirtd is away: its mappings are closed when that is back, or by luksmith reap", async () => {
    const guest = await onVolumeAndFile();
    await host().start(guest);
    await host().libvirt.stopDaemon();
    killQemu(guest);
    expectOpen(guest);
    await host().libvirt.startDaemon();
    await host().libvirt.virsh("list");
    await host().must("reap");
    expectClosed(guest);
    await expectNothingLeft(host());
  });
});

describe("a mapping that somebody has open", () => {
  it("does not keep the guest from stopping, and is closed later", async () => {
    const guest = await mappedGuest(volumes.newVolume());
    const [device] = guest.mappings;
    await host().start(guest);
    const fd = openSync(device!, "r");
    try {
      await host().stop(guest);
      const warnings = (await host().log()).filter(({ level }) => level === "warn");
      expect(warnings.map(({ message }) => message)).toEqual([
        expect.stringContaining("luksmith reap closes it"),
      ]);
      expectOpen(guest);
      expect((await host().refusedStart(guest)).code).toBe("MAPPING_BUSY");
      expectOpen(guest);
    } finally {
      closeSync(fd);
    }
    await host().must("reap");
    expectClosed(guest);
    await expectNothingLeft(host());

    await host().start(guest);
    expectOpen(guest);
  });

  it("is left alone by luksmith reap as long as its guest runs", async () => {
    const guest = await mappedGuest(volumes.newVolume());
    await host().start(guest);
    expect(await host().must("reap")).toContain("nothing to do");
    expectOpen(guest);
    await host().stop(guest);
    expectClosed(guest);
  });
});

it("a mapping that was closed by hand is no trouble for the stop, nor for another start", async () => {
  const guest = await mappedGuest(volumes.newVolume());
  const stdin = await savedStart(host(), guest);
  const [start, stop] = [
    hookCall(host(), "pre-start", guest, stdin),
    hookCall(host(), "post-stop", guest, stdin),
  ];
  for (const next of [start, stop]) {
    await runAgain(host(), start, "first");
    execFileSync("cryptsetup", ["close", guest.mappings[0]!.replace("/dev/mapper/", "")]);
    expectClosed(guest);
    await runAgain(host(), next, "after it was closed");
    if (next === start) expectOpen(guest);
  }
  await expectNothingLeft(host());
});

type Continuation = (when: string) => Promise<void>;

/** Each call is the next one's turn. */
function taking(...turns: readonly Continuation[]): Continuation {
  let turn = 0;
  return (when) => turns[turn++ % turns.length]!(when);
}
