import { volumeName } from "../storage/volume.js";
import type { DiskKey, Step } from "./step.js";

/** A step in one line for a person. */
export function renderStep(step: Step): string {
  switch (step.kind) {
    case "store-key":
      return `make key ${step.record.uuid} for disk ${step.record.disk} and store it in keystore ${step.keystore}`;
    case "format": {
      const { cipher, keySize } = step.record.encryption;
      return `write a LUKS header on ${volumeName(step.volume)} (disk ${step.disk}, ${cipher}, ${keySize} bits) if it still is empty`;
    }
    case "activate-key":
      return `mark key ${step.record.uuid} as active: disk ${step.record.disk} is never formatted again`;
    case "annotate":
      return `write the encryption blocks of ${disksOf(step.blocks)} into the guest's configuration`;
    case "provide-secrets":
      return `give the host the passphrases of ${disksOf(step.secrets)}`;
    case "withdraw-secrets":
      return `take the passphrases of ${disksOf(step.secrets)} away from the host`;
  }
}

function disksOf(keys: readonly DiskKey[]): string {
  return `${keys.length === 1 ? "disk" : "disks"} ${keys.map(({ disk }) => disk).join(", ")}`;
}
