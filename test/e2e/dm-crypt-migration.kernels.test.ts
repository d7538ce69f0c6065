import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { ADDRESSES } from "../lab/network.js";
import { type Remote, startTwoKernels, type TwoKernels } from "../lab/two-kernels.js";
import type { TestGuest } from "./support/guests.js";
import type { MappedDisk } from "./support/mapped.js";
import type { MappingHost } from "./support/mapping-host-machine.js";
import { MIB } from "./support/volumes.js";
import { MAGIC } from "./support/writing-guest.js";

type Host = Remote<MappingHost>;

vi.setConfig({ testTimeout: 300_000, hookTimeout: 120_000 });

let kernels: TwoKernels<MappingHost> | undefined;
let a: Host;
let b: Host;
beforeAll(async () => {
  const program = "test/e2e/support/mapping-host-machine.ts";
  kernels = await startTwoKernels<MappingHost>({ program, diskSize: 512 * MIB, timeout: 900_000 });
  ({ a, b } = kernels);
});
afterEach(async () => {
  await b.plugIn();
  for (const host of [a, b]) {
    await host.stopGuests();
    try {
      await expectNothingOf(host);
    } finally {
      await host.reset();
    }
  }
});
afterAll(() => kernels?.[Symbol.asyncDispose]());

/** Of virsh: a host that the network has lost is given up after 3 s. */
const IMPATIENT = ["--keepalive-interval", "1", "--keepalive-count", "2"];
/** What a busy machine may take. */
const PATIENCE = { timeout: 90_000, interval: 50 };

let made = 0;

interface Migrant {
  readonly guest: TestGuest;
  readonly disk: MappedDisk;
  /** Of its volume. */
  readonly volume: string;
}

/** A guest that runs and writes on host a, where dm-crypt opens its disk; host b has its program, and nothing else. */
async function writerOnA(): Promise<Migrant> {
  const volume = `vm${++made}`;
  const guest = await a.defineWriter("web1", await a.newVolume(volume));
  await a.must("protect", "web1", "--engine", "dm-crypt");
  await a.start(guest);
  const floppy = await a.programOf(guest);
  await b.place(floppy, await a.file(floppy));
  return { guest, disk: (await a.mapped(guest))["vda"]!, volume };
}

/** `--bandwidth`, in MiB per second, makes it last. */
function migrate(guest: TestGuest, from: Host, ...options: readonly string[]) {
  const to = `qemu+tcp://${ADDRESSES[from === a ? 1 : 0]}/system`;
  return from.virsh(
    ...IMPATIENT,
    "migrate",
    "--live",
    "--persistent",
    "--undefinesource",
    ...options,
    guest.uuid,
    to,
  );
}

/**
 * On which hosts the mapping was open, one state after the other, until this was done: `a ab b`. Before QEMU is there,
 * the target's second hook opens it anew.
 */
async function whereOpen<T>(name: string, doing: Promise<T>): Promise<{ result: T; states: string }> {
  const states: string[] = [];
  const progress = { isOver: false };
  const done = doing.finally(() => (progress.isOver = true));
  for (let isLast = false; !isLast;) {
    // one more look when it is over
    isLast = progress.isOver;
    const [onA, onB] = [(await a.mappings()).includes(name), (await b.mappings()).includes(name)];
    const state = `${onA ? "a" : ""}${onB ? "b" : ""}`;
    if (states.at(-1) !== state) states.push(state);
  }
  return { result: await done, states: states.join(" ") };
}

async function stepsOf(
  host: Host,
): Promise<(readonly [string | undefined, readonly string[] | undefined])[]> {
  return (await host.log()).map(({ event, steps }) => [event, steps]);
}

/** No guest runs there, and there is no mapping, claim or secret of any. */
async function expectNothingOf(host: Host): Promise<void> {
  expect((await host.guests()).running).toEqual([]);
  expect(await host.mappings()).toEqual([]);
  for (const [what, found] of Object.entries(await host.leftovers())) expect(found, what).toEqual([]);
}

it("a guest whose disk dm-crypt opens migrates to another kernel and back, and finds what it has written", async () => {
  const { guest, disk, volume } = await writerOnA();
  await b.takeKeys(await a.keys());
  await b.activate(volume);
  await a.writesOn(guest);

  const [there] = await Promise.all([
    whereOpen(disk.name, migrate(guest, a, "--bandwidth", "1")),
    expectStaleCache(disk),
  ]);
  expect(there.result).toMatchObject({ exitCode: 0 });
  expect(there.states).toMatch(/^(?:a ab )+b$/);
  await b.writesOn(guest);
  await expectNothingOf(a);
  const opening = expect.arrayContaining(["open-mapping"]) as string[];
  expect(await stepsOf(b)).toEqual(
    expect.arrayContaining([
      ["pre-migrate", opening],
      ["pre-start", opening],
    ]),
  );
  expect((await stepsOf(a)).at(-1)).toEqual(["post-stop", ["close-mapping"]]);

  const back = await whereOpen(disk.name, migrate(guest, b));
  expect(back.result).toMatchObject({ exitCode: 0 });
  expect(back.states).toMatch(/^(?:b ab )+a$/);
  const progress = await a.writesOn(guest);
  // it was never started again
  expect(progress.began).toBe(1);
  await expectNothingOf(b);
  for (const host of [a, b]) expect(await host.secrets()).toEqual([]);

  await a.stop(guest);
  const { written } = await a.checkWriting(disk.volume, disk.secret);
  expect(written).toBeGreaterThanOrEqual(progress.written);
  expect(await a.holds(disk.volume, MAGIC)).toBe(false);
});

/** While host b's QEMU waits for the memory, b's kernel has read, and keeps, what the guest is writing anew. */
async function expectStaleCache({ name, device }: MappedDisk): Promise<void> {
  const place = [device, 1 * MIB, 64 * 1024] as const;
  // by QEMU: what is read before that is forgotten as soon as its only reader goes
  await vi.waitUntil(async () => (await b.openers(name)) > 0, PATIENCE);
  const before = await b.digest(...place);
  await vi.waitUntil(async () => (await a.digest(...place)) !== before, PATIENCE);
  expect(await b.digest(...place)).toBe(before);
  // it was not over meanwhile
  expect(await a.openers(name)).toBeGreaterThan(0);
}

it("a guest runs on where it was when the network is cut in the middle, and the target closes its mapping", async () => {
  const { guest, disk, volume } = await writerOnA();
  await b.takeKeys(await a.keys());
  await b.activate(volume);
  await a.writesOn(guest);

  const migration = migrate(guest, a, "--bandwidth", "1");
  await vi.waitUntil(async () => (await b.openers(disk.name)) > 0, PATIENCE);
  await b.unplug();
  expect(await b.mappings()).toEqual([disk.name]);
  await vi.waitUntil(async () => (await b.mappings()).length === 0, PATIENCE);
  // QEMU would wait for TCP, which does not give up soon
  await a.virsh("domjobabort", guest.uuid);
  expect((await migration).exitCode).toBe(1);
  await expectNothingOf(b);
  expect(await b.guests()).toEqual({ all: [], running: [] });
  expect(await a.mappings()).toEqual([disk.name]);
  await a.writesOn(guest);

  await b.plugIn();
  expect(await migrate(guest, a)).toMatchObject({ exitCode: 0 });
  await b.writesOn(guest);
  expect(await a.mappings()).toEqual([]);
});

it("a guest runs on where it was, with its mapping, when a target cannot open its disk", async () => {
  const { guest, disk, volume } = await writerOnA();
  const refused = async (code: string) => {
    const before = (await b.log()).length;
    const { exitCode, stderr } = await migrate(guest, a);
    const errors = (await b.log()).slice(before).filter(({ level }) => level === "error");
    expect(errors.map((error) => error.code)).toEqual([code]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain(errors[0]!.what);
    await expectNothingOf(b);
    expect(await b.guests()).toEqual({ all: [], running: [] });
    expect(await a.mappings()).toEqual([disk.name]);
  };

  await b.activate(volume);
  await refused("KEY_NOT_FOUND");

  await b.takeKeys(await a.keys());
  await b.deactivate(volume);
  await refused("VOLUME_NOT_FOUND");

  await b.putImpostor(volume);
  await refused("LUKS_UUID_MISMATCH");
  await b.removeImpostor();
  await a.writesOn(guest);
});
