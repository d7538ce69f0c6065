import type { KeyRecord } from "../generated/key-record.js";
import type { Guest } from "../host/host-adapter.js";
import type { EncryptionRequest } from "../request/ask.js";
import { type KeyUuid, parseKeyUuid } from "./key-uuid.js";

export interface NewKey {
  readonly uuid: KeyUuid;
  readonly guest: Pick<Guest, "id" | "name">;
  /** Device name. */
  readonly disk: string;
  readonly volume: string;
  readonly request: EncryptionRequest;
  readonly now: Date;
}

/** The record of a key that has encrypted nothing yet. */
export function newKeyRecord({ uuid, guest, disk, volume, request, now }: NewKey): KeyRecord {
  const { format, cipher, keySize, hash, profile } = request;
  return {
    version: 1,
    uuid,
    state: "pending",
    guest: { id: guest.id, name: guest.name },
    disk,
    volume,
    encryption: { format, cipher, keySize, hash },
    createdAt: now.toISOString(),
    profile,
  };
}

/** The record's UUID; the schema's pattern has checked that it is one. */
export function keyUuidOf(record: KeyRecord): KeyUuid {
  const uuid = parseKeyUuid(record.uuid);
  if (uuid === undefined) throw new Error(`a key record has the malformed UUID ${record.uuid}`);
  return uuid;
}
