import { existsSync, readdirSync } from "node:fs";
import { Container } from "../../src/di.js";
import type { KeyUuid } from "../../src/keystore/key-uuid.js";
import { parseSettings } from "../../src/settings/load.js";
import { Shredder } from "../../src/shred/shred-all.js";
import * as t from "../../src/tokens.js";
import { FakeMappings } from "../fake/fake-mappings.js";
import { RecordingLogger } from "../fake/recording-logger.js";
import type { Life } from "./life.js";
import { ifNoHeader, type LifePlace } from "./life-place.js";

/** Destroys all that opens the disk. */
export async function shredDisk(place: LifePlace, life: Life): Promise<void> {
  const ports = place.ports(life);
  const settings = { version: 1, recovery: { directory: place.at("escrow") } };
  const container = new Container()
    .value(t.SETTINGS, parseSettings(JSON.stringify(settings), "the test"))
    .value(t.CLOCK, place)
    .value(t.LOGGER, new RecordingLogger())
    .value(t.COMMAND_RUNNER, place.runner)
    .value(t.HOST, place.host)
    .value(t.KEYRING, ports.keyring)
    .value(t.STORAGE, life.storage(place.registry()))
    .value(t.MAPPINGS, new FakeMappings())
    .value(t.HEADER_VAULT, ports.vault)
    .value(t.AUDIT, ports.audit)
    .value(t.KEYSLOTS, place.keyslots)
    .value(t.KEY_LOCKS, ports.keyLocks)
    .value(t.GUEST_LOCKS, ports.guestLocks);
  const places = {
    ...{ directory: place.at("shred"), signingKey: place.at("signing-key"), inPlace: place.at("in-place") },
    // what the disk was copied from has gone, or is of no interest here
    ...{ conversions: place.at("none"), clearCopies: () => undefined },
  };
  const shredder = new Shredder(container, places);
  const wish = { kind: "guest", guest: "web1", disks: [] } as const;
  // an original of which the disk is a copy has the same volume key
  const asking = { snapshots: "unknown", otherHosts: "unknown", sharedVolumeKey: "kept" } as const;
  await shredder.shred(wish, { uid: undefined, ...asking });
  if (life.isOver) throw new Error("killed");
}

/** What could open the volume of a key, or help to. */
export async function leftOf(place: LifePlace, uuid: KeyUuid): Promise<string[]> {
  const keys = (await place.keystore.list()).filter(
    (record) => record.uuid === uuid || record.archived?.of === uuid,
  );
  const escrow = existsSync(place.at("escrow")) ? readdirSync(place.at("escrow")) : [];
  const { volume } = await place.disk();
  const header = await place.backend().readHeader(volume).catch(ifNoHeader);
  return [
    ...keys.map(({ state }) => `key ${state}`),
    ...escrow.filter((name) => name.includes(uuid)),
    ...place.vault.backups(uuid).map(({ path }) => path),
    ...(header === undefined ? [] : ["header"]),
  ];
}
