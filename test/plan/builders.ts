import type { DiskMapping } from "../../src/disk-info/disk-info.js";
import type { MappingClaim } from "../../src/encryption/encryption-provider.js";
import type { LuksHeader } from "../../src/encryption/luks-header.js";
import type { EncryptionFormat } from "../../src/encryption/luks-spec.js";
import type { KeyRecord } from "../../src/generated/key-record.js";
import type { Guest } from "../../src/host/host-adapter.js";
import { type KeyUuid, parseKeyUuid } from "../../src/keystore/key-uuid.js";
import type { AnnotatedDisk, KeyFact, PlainDisk } from "../../src/plan/facts.js";
import type { EncryptionRequest } from "../../src/request/ask.js";

export const NOW = new Date("2026-01-02T03:04:05Z");

/** The n-th of a row of UUIDs that are easy to tell apart. */
export function uuid(n: number): KeyUuid {
  return parseKeyUuid(`00000000-0000-4000-8000-${String(n).padStart(12, "0")}`)!;
}

export function disk(dev: string, n?: number, more: Partial<DiskMapping> = {}): DiskMapping {
  return {
    bus: "virtio",
    dev,
    type: "disk",
    encrypted: n !== undefined,
    ...(n === undefined ? {} : { encryption_format: "luks" as const, encryption_secret_uuid: uuid(n) }),
    volume: { kind: "file", path: `/srv/vm/${dev}.img`, format: "raw" },
    readOnly: false,
    ...more,
  };
}

export function guestWith(...disks: DiskMapping[]): Guest {
  return {
    id: "11111111-2222-4333-8444-555555555555",
    name: "web1",
    disks: {
      disk_bus: "virtio",
      cdrom_bus: "sata",
      mapping: Object.fromEntries(disks.map((mapping) => [mapping.dev, mapping])),
    },
    asks: [],
    tags: [],
    configuration: "<domain/>",
  };
}

export function record(n: number, dev: string, state: KeyRecord["state"]): KeyRecord {
  return {
    version: 1,
    uuid: uuid(n),
    state,
    guest: { id: "11111111-2222-4333-8444-555555555555", name: "web1" },
    disk: dev,
    volume: `/srv/vm/${dev}.img`,
    encryption: { format: "luks", cipher: "aes-xts-plain64", keySize: 512, hash: "sha256" },
    createdAt: "2026-01-01T00:00:00.000Z",
  };
}

export function request(dev: string): EncryptionRequest {
  return {
    disk: dev,
    format: "luks",
    cipher: "aes-xts-plain64",
    keySize: 512,
    hash: "sha256",
    profile: "default",
    keystore: "local",
    askedBy: ["flavor m1.secret (hw:ephemeral_encryption)"],
  };
}

export function header(n: number): LuksHeader {
  return {
    version: 1,
    uuid: uuid(n),
    cipher: "aes-xts-plain64",
    hash: "sha256",
    keySize: 512,
    payloadOffset: 2 * 1024 * 1024,
    keyslots: [],
  };
}

/** A disk whose encryption block names key n, held by keystore `local` in `state`. */
export function known(
  dev: string,
  n: number,
  state: KeyRecord["state"],
  probe: AnnotatedDisk["probe"],
): AnnotatedDisk {
  const key = { kind: "found", keystore: "local", record: record(n, dev, state) } as const;
  return { kind: "annotated", disk: disk(dev, n), uuid: uuid(n), request: undefined, key, probe, bases: [] };
}

/** A disk that names a mapping over its volume, opened with key n, held by keystore `local` in `state`. */
export function mapped(
  dev: string,
  n: number,
  state: KeyRecord["state"],
  probe: AnnotatedDisk["probe"],
  format: EncryptionFormat = "luks",
): AnnotatedDisk {
  const fact = known(dev, n, state, probe);
  const encryption = { ...record(n, dev, state).encryption, format };
  const key = { kind: "found", keystore: "local", record: { ...record(n, dev, state), encryption } } as const;
  const mapping = { mapping: claim(dev, n).name, encryption_format: format };
  return { ...fact, disk: { ...fact.disk, ...mapping }, key };
}

/** Of the mapping of such a disk. */
export function claim(dev: string, n: number): MappingClaim {
  const { id, name } = guestWith();
  return {
    name: `luksmith-${dev}.img-${uuid(n)}`,
    guest: { id, name },
    disk: dev,
    uuid: uuid(n),
    volume: "",
  };
}

/** The same disk over an encrypted volume of key n. */
export function over(fact: AnnotatedDisk, n: number, key: KeyFact): AnnotatedDisk {
  return { ...fact, bases: [...fact.bases, { uuid: uuid(n), key }] };
}

/** A disk whose encryption block names key n, which no keystore has. */
export function unknown(
  dev: string,
  n: number,
  asked: EncryptionRequest | undefined,
  probe: AnnotatedDisk["probe"],
): AnnotatedDisk {
  return {
    kind: "annotated",
    disk: disk(dev, n),
    uuid: uuid(n),
    request: asked,
    key: { kind: "unknown" },
    probe,
    bases: [],
  };
}

/** @param key under the UUID of the header that its volume has, in the image format that it really has */
export function plain(dev: string, key?: KeyFact, format: "raw" | "qcow2" = "raw"): PlainDisk {
  const volume = { kind: "file", path: `/srv/vm/${dev}.img`, format } as const;
  const luks = key && { volume, uuid: uuid(1), key };
  return { kind: "plain", disk: disk(dev), luks, overlaid: undefined };
}
