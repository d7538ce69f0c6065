import { type PlannedUse, recorded } from "../../../audit/recorded.js";
import { LuksmithError } from "../../../error/luksmith-error.js";
import type { ProvideRequest } from "../../../generated/bridge-request.js";
import type { KeyRecord } from "../../../generated/key-record.js";
import type { Found } from "../../../keystore/keyring.js";
import { keyUuidOf } from "../../../keystore/key-record.js";
import { DEFAULT_PROFILE, profileNamed } from "../../../settings/settings.js";
import { baseOf } from "../base/index.js";
import { startNamed, type StartSecret, withdrawSecrets, writeSecrets } from "../secrets.js";
import { guestName } from "./guest-name.js";
import { openVolume } from "./opened-volume.js";
import type { BridgeResources, BridgeResult } from "./resources.js";
import { keystoreOf, settle } from "./settle-key.js";

type Wanted = ProvideRequest["volumes"][number];

/**
 * Writes the passphrases into the start's directory, all or nothing.
 * @throws as `openVolume`, KEY_NOT_FOUND, what keeps a keystore from answering, HOST_SECRET_FAILED
 */
export async function provide(request: ProvideRequest, resources: BridgeResources): Promise<BridgeResult> {
  const found = await Promise.allSettled(request.volumes.map((wanted) => find(wanted, resources)));
  try {
    const secrets = found.map((answer) => {
      if (answer.status === "rejected") throw answer.reason;
      return answer.value.secret;
    });
    const uses = found.flatMap((answer) =>
      answer.status === "fulfilled" ? [useOf(answer.value, request, resources)] : [],
    );
    const start = startNamed(resources.places, String(request.vmid), request.start);
    await recorded(resources.audit, uses, async () => {
      await Promise.resolve();
      writeSecrets(start, secrets);
      return async () => {
        await Promise.resolve();
        withdrawSecrets(start);
      };
    });
    for (const answer of found)
      if (answer.status === "fulfilled") await settle(answer.value.located, resources);
    return {};
  } finally {
    for (const answer of found) if (answer.status === "fulfilled") answer.value.secret.passphrase.dispose();
  }
}

interface FoundSecret {
  readonly secret: StartSecret;
  readonly located: { readonly record: KeyRecord; readonly keystore: string | undefined };
}

/** Of the guest that starts, whose disk the storage knows as its volume. */
function useOf({ located }: FoundSecret, { vmid }: ProvideRequest, { places }: BridgeResources): PlannedUse {
  const { record, keystore } = located;
  const id = String(vmid);
  const of = { guest: { id, name: guestName(places, id) }, disk: record.disk, volume: record.volume };
  const from = keystore === undefined ? { detail: "from this host's copy of the key" } : { keystore };
  return { event: "provide", ...of, key: keyUuidOf(record), ...from };
}

async function find(
  { storage, volume: name, file }: Wanted,
  resources: BridgeResources,
): Promise<FoundSecret> {
  await using opened = await openVolume(baseOf(storage, resources), name, resources.storage);
  const { uuid } = opened.header;
  const { keystore: preferred } = profileNamed(resources.settings, storage.profile ?? DEFAULT_PROFILE);
  const located = await resources.keyring.locate(uuid, preferred);
  const task = `cannot open volume ${name} on storage ${storage.id}`;
  switch (located.kind) {
    case "found":
      warnOfCopy(name, located, resources);
      return {
        secret: { file, passphrase: located.key.passphrase },
        located: {
          record: located.key.record,
          keystore: keystoreOf(located),
        },
      };
    case "unknown":
      throw new LuksmithError("KEY_NOT_FOUND", {
        what: `${task}: no keystore has its key`,
        why: `its LUKS header names key ${uuid}`,
        hint: "restore the key from a backup of the keystore, or name the keystore that has it in the settings",
      });
    case "unavailable":
      throw located.error.within(task);
  }
}

function warnOfCopy(volume: string, { keystore, cached }: Found, { warn }: BridgeResources): void {
  if (cached === undefined) return;
  warn(
    `volume ${volume} is opened with a copy of its key from ${cached.since.toISOString()}, ` +
      `since keystore ${keystore.name} does not answer: ${cached.error.message}`,
  );
}
