import type { PlannedUse } from "../../audit/recorded.js";
import { keyUuidOf } from "../../keystore/key-record.js";
import type { InPlacePorts, Work } from "./work.js";

export function useOf({ guest, disk, key, volume }: Work): PlannedUse {
  return {
    event: "convert",
    guest: { id: guest.id, name: guest.name },
    ...{ disk: disk.dev, volume: volume.path, key: keyUuidOf(key.record), keystore: key.keystore.name },
  };
}

/** Before a byte is changed: a call that is cut short does not record anything any more. @throws AUDIT_UNWRITABLE */
export async function recordBegin(
  work: Work,
  { audit }: InPlacePorts,
  how: "begins" | "goes on",
): Promise<void> {
  const what = work.to === "encrypted" ? "encryption" : "decryption";
  await audit.record({ ...useOf(work), result: "done", detail: `${what} in place ${how}` });
}

/** Twice where the call that records it is killed right afterwards. @throws AUDIT_UNWRITABLE */
export async function recordEnd(work: Work, { audit }: InPlacePorts): Promise<void> {
  const detail = `${work.to === "encrypted" ? "encrypted" : "decrypted"} in place`;
  await audit.record({ ...useOf(work), result: "done", detail });
}
