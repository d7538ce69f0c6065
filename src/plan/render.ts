import { volumeName } from "../storage/volume.js";
import { formatBytes } from "./bytes.js";
import type { AnnotatedKey, DiskKey, OpeningKey, Step } from "./step.js";

/** A step in one line for a person. */
export function renderStep(step: Step): string {
  switch (step.kind) {
    case "store-key":
      return `make key ${step.record.uuid} for disk ${step.record.disk} and store it in keystore ${step.keystore}`;
    case "format": {
      const { cipher, keySize, format } = step.record.encryption;
      if (format === "plain")
        return `take ${volumeName(step.volume)} for disk ${step.disk}, ${cipher}, ${keySize} bits, without a header, if it still is empty`;
      return `write a ${format === "luksv2" ? "LUKS2" : "LUKS"} header on ${volumeName(step.volume)} (disk ${step.disk}, ${cipher}, ${keySize} bits) if it still is empty`;
    }
    case "activate-key":
      return `mark key ${step.record.uuid} as active: disk ${step.record.disk} is never formatted again`;
    case "annotate":
      return annotating(step.blocks);
    case "grow": {
      const sizes = `from ${formatBytes(step.from)} to ${formatBytes(step.to)}`;
      const now = step.guest === "running" ? ", and tell its guest, which runs" : "";
      return `enlarge disk ${step.disk} on ${volumeName(step.volume)} ${sizes}${now}`;
    }
    case "provide-secrets":
      return `give the host the passphrases of ${disksOf(step.secrets)}${andBases(step.secrets)}`;
    case "withdraw-secrets":
      return `take the passphrases of ${disksOf(step.secrets)} away from the host`;
    case "open-mapping":
      return `open ${volumeName(step.volume)} as /dev/mapper/${step.mapping} for disk ${step.disk}`;
    case "close-mapping":
      return `close /dev/mapper/${step.mapping} of disk ${step.disk}`;
    case "add-disk":
      return `add disk ${step.disk} on ${volumeName(step.volume)} to the guest's configuration`;
    case "remove-disk":
      return `take disk ${step.disk} out of the guest's configuration`;
    case "attach-disk":
      return `give disk ${step.disk} to the running guest`;
    case "detach-disk":
      return `take disk ${step.disk} from the running guest`;
    case "note-arrival":
      return "note that the guest migrates here";
    case "answer-configuration":
      return step.copies
        .map(
          ({ disk, to }) =>
            `let disk ${disk} be opened with key ${to.uuid} here, since its content is copied`,
        )
        .join(", and ");
  }
}

function annotating(keys: readonly AnnotatedKey[]): string {
  const mapped = keys.filter(({ mapping }) => mapping !== undefined);
  const blocks = keys.filter(({ mapping }) => mapping === undefined);
  const tasks = [
    ...(blocks.length === 0
      ? []
      : [`write the encryption blocks of ${disksOf(blocks)} into the guest's configuration`]),
    ...mapped.map(
      ({ disk, mapping }) =>
        `let disk ${disk} in the guest's configuration be /dev/mapper/${mapping?.name ?? ""}`,
    ),
  ];
  return tasks.join(", and ");
}

function disksOf(keys: readonly DiskKey[]): string {
  const disks = [...new Set(keys.map(({ disk }) => disk))];
  return `${disks.length === 1 ? "disk" : "disks"} ${disks.join(", ")}`;
}

function andBases(keys: readonly OpeningKey[]): string {
  const bases = new Set(keys.filter(({ opens }) => opens === "base").map(({ uuid }) => uuid));
  if (bases.size === 0) return "";
  const disks = new Set(keys.map(({ disk }) => disk));
  return ` and of the encrypted ${bases.size === 1 ? "volume" : "volumes"} under ${disks.size === 1 ? "it" : "them"}`;
}
