import type { Container } from "../../di.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import { newKeyUuid } from "../../keystore/key-uuid.js";
import { type Plan, planOf } from "../../plan/step.js";
import { VolumeLocks } from "../../storage/volume-lock.js";
import {
  AUDIT,
  CLOCK,
  COMMAND_RUNNER,
  HEADER_VAULT,
  HOST,
  KEY_LOCKS,
  KEYRING,
  STORAGE,
} from "../../tokens.js";
import type { Conversion, ConversionTask } from "../conversion.js";
import { type Candidate, candidateUuid, withCandidate } from "./candidate.js";
import { decryptInPlace } from "./decrypt-in-place.js";
import { tasksOf } from "./dry-run.js";
import { earlierKey, type EarlierQuestion } from "./earlier-key.js";
import { encryptInPlace } from "./encrypt-in-place.js";
import { Journal } from "./journal.js";
import { withNewKey } from "./new-key.js";
import { cannot } from "./refusals.js";
import type { ConversionTo } from "./signpost.js";
import type { InPlacePorts } from "./work.js";

/** Apart from the notes of copies: these are one file for each conversion, and its header. */
const JOURNAL = "/var/lib/luksmith/in-place";

/**
 * Encrypts or decrypts a disk without a second volume: the payload moves by a LUKS header's length, chunk by chunk
 * (docs/decisions/025). The guest must be shut off, and no start of it is allowed until all is done. Killed at any
 * instruction, and whatever a power cut leaves, a further call goes on: also on another host, which has the keystore.
 * The key's lock is held all the time, which can be hours.
 */
export const convertInPlace: Conversion = (container, task) => convertWith(portsOf(container), task);

/**
 * For whoever has several disks to convert: throws all that speaks against this one, as `convertInPlace` would before it
 * changes anything, and changes nothing. That storage has room for each of them does not say that it has it for all.
 */
export async function requireConvertibleInPlace(container: Container, task: ConversionTask): Promise<void> {
  await withCandidate(task, portsOf(container), () => Promise.resolve());
}

/**
 * Whether a conversion in place of this disk has begun and has not ended: where it goes.
 * @throws KEYSTORE_UNAVAILABLE and the keystore's own: nobody can tell then
 */
export async function unfinishedInPlace(
  container: Container,
  question: EarlierQuestion,
): Promise<ConversionTo | undefined> {
  const key = await earlierKey(question, {
    keyring: container.resolve(KEYRING),
    journal: new Journal(JOURNAL),
  });
  key?.passphrase.dispose();
  return key && (key.record.conversion?.to ?? question.to);
}

function portsOf(container: Container): InPlacePorts {
  const runner = container.resolve(COMMAND_RUNNER);
  return {
    host: container.resolve(HOST),
    keyring: container.resolve(KEYRING),
    storage: container.resolve(STORAGE),
    vault: container.resolve(HEADER_VAULT),
    audit: container.resolve(AUDIT),
    clock: container.resolve(CLOCK),
    runner,
    locks: new VolumeLocks(runner),
    keyLocks: container.resolve(KEY_LOCKS),
    journal: new Journal(JOURNAL),
  };
}

export async function convertWith(ports: InPlacePorts, task: ConversionTask): Promise<Plan> {
  const found = await withCandidate(task, ports, (candidate) => {
    if (task.manner === "dry-run") for (const one of tasksOf(candidate)) task.watcher.done(`would ${one}`);
    return Promise.resolve(candidateUuid(candidate));
  });
  if (task.manner === "dry-run") return planOf();
  const uuid = found ?? newKeyUuid();
  return await ports.keyLocks.hold(uuid, () =>
    withCandidate(task, ports, async (candidate) => {
      // looked at again: whoever had the lock may have changed the key's record, or have deleted it
      if (candidateUuid(candidate) !== found)
        throw new LuksmithError("KEY_CONFLICT", {
          what: `${cannot(candidate)}: somebody else has changed its key meanwhile`,
          hint: "run it again; nothing was changed",
        });
      ports.audit.requireWritable();
      return await convert(candidate, ports, uuid);
    }),
  );
}

async function convert(
  candidate: Candidate,
  ports: InPlacePorts,
  uuid: ReturnType<typeof newKeyUuid>,
): Promise<Plan> {
  const { key, task } = candidate;
  if (key !== undefined) {
    const work = { ...candidate, key };
    return candidate.to === "encrypted"
      ? await encryptInPlace(work, ports, "going on")
      : await decryptInPlace(work, ports);
  }
  if (task.goal.to === "plain") throw new Error("what is decrypted has a key");
  return await withNewKey(candidate, task.goal.request, { ...ports, uuid }, (work) =>
    encryptInPlace(work, ports, "new"),
  );
}
