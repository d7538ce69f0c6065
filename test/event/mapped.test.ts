import { copyFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { mappingName } from "../../src/encryption/dm-crypt/mapping-name.js";
import type { DiskMapping } from "../../src/disk-info/disk-info.js";
import type { CauseOf, Guest, LifecycleEvent } from "../../src/host/host-adapter.js";
import { isMappable } from "../../src/storage/volume.js";
import { codeOf } from "../storage/workshop.js";
import { EventWorld, type WorldOptions } from "./event-world.js";

const start = (guest: Guest, cause: CauseOf["pre-start"] = "start"): LifecycleEvent => ({
  ...{ event: "pre-start", cause, guest },
});
const stop = (guest: Guest): LifecycleEvent => ({ event: "post-stop", cause: "stop", guest });

/** Disk vda is QEMU's own, and the others name mappings over their volumes. */
async function mixedGuest(options: WorldOptions = {}) {
  const world = new EventWorld(undefined, [], undefined, options);
  const disks = world.disks("vda", "vdb", "vdc");
  const guest = world.guest(disks);
  await world.storePending(guest, disks);
  return { world, disks, guest: withMappings(guest, "vdb", "vdc") };
}

function withMappings(guest: Guest, ...devs: string[]): Guest {
  const mapped = devs.map((dev): [string, DiskMapping] => {
    const disk = guest.disks.mapping[dev]!;
    const { volume, encryption_secret_uuid: uuid } = disk;
    if (!isMappable(volume) || uuid === undefined) throw new Error(`${dev} cannot be mapped`);
    return [dev, { ...disk, mapping: mappingName(volume, uuid) }];
  });
  const mapping = { ...guest.disks.mapping, ...Object.fromEntries(mapped) };
  return { ...guest, disks: { ...guest.disks, mapping } };
}

describe("a guest of which dm-crypt opens some disks", () => {
  it("is given mappings for these and a host secret for the other, and has nothing left after its stop", async () => {
    const { world, disks, guest } = await mixedGuest();
    const first = await world.handle(start(guest));
    expect(first.slice(-3)).toEqual(["provide-secrets", "open-mapping", "open-mapping"]);
    expect([...world.host.passphrases.keys()]).toEqual([disks[0]!.uuid]);
    expect([...world.mappings.opened.values()].map(({ uuid }) => uuid)).toEqual([
      disks[1]!.uuid,
      disks[2]!.uuid,
    ]);
    expect(await world.handle(stop(guest))).toEqual(["withdraw-secrets", "close-mapping", "close-mapping"]);
    expect([world.mappings.opened.size, world.mappings.claims().length]).toEqual([0, 0]);
  });

  it("starts the second time without the guest's lock", async () => {
    const { world, guest } = await mixedGuest();
    await world.handle(start(guest));
    await world.handle(stop(guest));
    world.runner.commands.length = 0;
    expect(await world.handle(start(guest))).toEqual(["provide-secrets", "open-mapping", "open-mapping"]);
    expect(world.runner.lines).toEqual([]);
  });

  it("is given nothing at all if one of them cannot be opened", async () => {
    const { world, guest } = await mixedGuest();
    world.mappings.refusedDisk = "vdc";
    expect(await codeOf(world.handle(start(guest)))).toBe("MAPPING_BUSY");
    expect(world.mappings.claims()).toEqual([]);
    expect(await world.host.providedSecrets()).toEqual([]);
  });

  it("is opened for a restore, and left alone by a reconnect", async () => {
    const { world, guest } = await mixedGuest();
    await world.handle(start(guest));
    expect(await world.handle(start(guest, "reconnect"))).toEqual(["provide-secrets"]);
    expect(world.mappings.opened.size).toBe(2);
    await world.handle(stop(guest));
    expect(await world.handle(start(guest, "restore"))).toContain("open-mapping");
  });

  it("is refused, before a keystore is asked, by a host whose kernel has no dm-crypt", async () => {
    const { world, guest } = await mixedGuest({ dmCrypt: "absent" });
    const error = await world.handle(start(guest)).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "TRAIT_MISSING" });
    expect(String(error)).toContain("COMPUTE_EPHEMERAL_ENCRYPTION_LUKS by dm-crypt");
    expect(await world.states()).toEqual(["pending", "pending", "pending"]);
  });

  it("keeps its volumes from other guests, however these name them, and not from copies", async () => {
    const { world, disks, guest } = await mixedGuest();
    await world.handle(start(guest));
    const other = world.guest(disks);
    expect(await codeOf(world.handle(start(withMappings(other, "vdb", "vdc"))))).toBe("MAPPING_BUSY");
    expect(await codeOf(world.handle(start(other)))).toBe("MAPPING_BUSY");
    const bare = world.guest([disks[1]!], "", "bare");
    expect(await codeOf(world.handle(start(bare)))).toBe("MAPPING_BUSY");
    const copy = `${disks[1]!.path}.copy`;
    copyFileSync(disks[1]!.path, copy);
    expect(await world.handle(start(world.guest([{ ...disks[1]!, path: copy }])))).toEqual([
      "provide-secrets",
    ]);
    expect(world.mappings.opened.size).toBe(2);
  });

  it("is refused while what is left of an earlier start is open over a disk that QEMU would open now", async () => {
    const { world, guest } = await mixedGuest();
    await world.handle(start(guest));
    const [lost] = [...world.mappings.opened.keys()];
    world.mappings.busy.add(lost!);
    const native = { ...guest.disks.mapping["vdb"]!, mapping: undefined };
    const switched = {
      ...guest,
      disks: { ...guest.disks, mapping: { vdb: native as unknown as DiskMapping } },
    };
    expect(await codeOf(world.handle(start(switched)))).toBe("MAPPING_BUSY");
    expect([...world.host.passphrases.keys()]).not.toContain(native.encryption_secret_uuid);
  });

  it("is not taken over from another host where the kernel would read an image file for it", async () => {
    const { world, guest } = await mixedGuest();
    await world.handle(start(guest));
    await world.handle(stop(guest));
    const migrate: LifecycleEvent = { event: "pre-migrate", cause: "migrate", guest };
    expect(await codeOf(world.handle(migrate))).toBe("VOLUME_UNSUPPORTED");
    expect(world.mappings.claims()).toEqual([]);
  });
});
