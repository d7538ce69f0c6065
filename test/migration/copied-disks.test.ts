import { describe, expect, it } from "vitest";
import { mappingName } from "../../src/encryption/dm-crypt/mapping-name.js";
import { annotateDomain } from "../../src/guest-config/annotations.js";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import type { Guest } from "../../src/host/host-adapter.js";
import { Keyring } from "../../src/keystore/keyring.js";
import { type KeyUuid, newKeyUuid } from "../../src/keystore/key-uuid.js";
import { withCopiedDisks } from "../../src/migration/copied-disks.js";
import { gatherFacts } from "../../src/plan/gather.js";
import { KeySession } from "../../src/plan/key-session.js";
import { planArrival } from "../../src/migration/plan-arrival.js";
import { parseSettings } from "../../src/settings/load.js";
import type { Probe, StorageBackend } from "../../src/storage/storage-backend.js";
import { StorageRegistry } from "../../src/storage/storage-registry.js";
import type { PathVolume } from "../../src/storage/volume.js";
import { EventWorld } from "../event/event-world.js";
import { codeOf, sha256 } from "../storage/workshop.js";

const NOW = new Date("2026-01-02T03:04:05Z");
const VOLUME = { kind: "block", path: "/dev/vg/vm1", format: "raw" } as const satisfies PathVolume;

/** Storage of which the test says what it holds; nothing is ever written to it. */
function fakeStorage(probe: Probe): StorageRegistry {
  const backend = {
    type: "fake",
    formats: ["luks", "luksv2"],
    accepts: () => true,
    probe: () => Promise.resolve(probe),
  };
  return new StorageRegistry([backend as unknown as StorageBackend]);
}

/** Of which dm-crypt opens disk vda, at its source, over the volume. */
function mappedGuest(world: EventWorld, volume: PathVolume, uuid: KeyUuid): Guest {
  const bare = world.guest(world.disks("vda"), "", "bare").configuration;
  const annotation = {
    format: "luks",
    secretUuid: uuid,
    mapping: mappingName(volume, uuid),
    volume,
  } as const;
  return { ...guestFromDomainXml(annotateDomain(bare, new Map([["vda", annotation]]))), arrives: true };
}

describe("a disk that dm-crypt opens, whose content is copied", () => {
  it("has a mapping of another name here, over the same volume", async () => {
    const [world, uuid] = [new EventWorld(), newKeyUuid()];
    const guest = mappedGuest(world, VOLUME, uuid);
    const settings = parseSettings('{"version":1}', "the test");
    const { host, arrivals } = world;
    const sources = { host, arrivals, keyring: new Keyring([]), storage: fakeStorage({ kind: "empty" }) };
    using session = new KeySession();
    const facts = await gatherFacts(guest, new Map(), sources, session);
    const copied = await withCopiedDisks(guest, facts, { requests: new Map(), settings }, sources, session);
    const [{ from, to }] = copied.copies as [(typeof copied.copies)[0]];
    expect(from).toMatchObject({ uuid, mapping: { name: mappingName(VOLUME, uuid) } });
    expect(to.uuid).not.toBe(uuid);
    expect(to.mapping).toEqual({ name: mappingName(VOLUME, to.uuid), format: "luks", volume: VOLUME });
    expect(copied.guest.configuration).toContain(`/dev/mapper/${mappingName(VOLUME, to.uuid)}`);
    expect(copied.guest.configuration).not.toContain(uuid);
    const steps = planArrival(copied.guest, copied.facts, copied.copies, NOW).stages.flat();
    expect(steps.map(({ kind }) => kind)).toEqual([
      ...["note-arrival", "store-key", "format", "activate-key", "open-mapping", "answer-configuration"],
    ]);
    expect(steps[2]).toMatchObject({ provider: "dm-crypt", volume: VOLUME });
    expect(steps[1]).toMatchObject({ record: { disk: "vda", volume: VOLUME.path, guest: { id: guest.id } } });
  });

  it("is refused on an image file, with nothing made", async () => {
    const world = new EventWorld();
    const [vda] = world.disks("vda");
    const guest = mappedGuest(world, { kind: "file", path: vda!.path, format: "raw" }, vda!.uuid);
    const before = sha256(vda!.path);
    expect(await codeOf(world.handle({ event: "pre-migrate", cause: "migrate", guest }))).toBe(
      "VOLUME_UNSUPPORTED",
    );
    expect([sha256(vda!.path), await world.states(), world.arrivals.list()]).toEqual([before, [], []]);
  });
});
