import type { Keyslots } from "../encryption/keyslots.js";
import { asLuksmithError, type LuksmithError } from "../error/luksmith-error.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Secret } from "../secret/secret.js";
import type { Volume } from "../storage/volume.js";
import { compareHeaders, type HeaderDrift } from "./compare-headers.js";
import type { HeaderBackup } from "./header-vault.js";
import type { KeyslotPorts } from "./keyslot-ports.js";

export type HeaderPorts = Pick<KeyslotPorts, "storage" | "keyring" | "vault" | "keyslots">;

/** How a volume's header stands to its newest copy and to its key. */
export interface HeaderState {
  /** Undefined where there is a whole header. */
  readonly damage?: LuksmithError;
  readonly copy?: HeaderBackup;
  /** Of the header against the copy, where both are whole. */
  readonly drift?: HeaderDrift;
  /** The keyslot that the key's passphrase opens; `none`, or `unknown` where no keystore gave the key. */
  readonly header: number | "none" | "unknown";
  readonly inCopy: number | "none" | "unknown";
}

/** Looks at everything, writes nothing. @throws what keeps volume or vault from being read at all */
export async function stateOf(
  { volume, uuid }: { readonly volume: Volume; readonly uuid: KeyUuid },
  { storage, keyring, vault, keyslots }: HeaderPorts,
): Promise<HeaderState> {
  const backend = await storage.backendFor(volume);
  const header = await orDamage(() => backend.readHeader(volume));
  const [copy] = vault.backups(uuid);
  const copied = copy && (await orDamage(() => Promise.resolve(vault.read(copy))));
  const location = await keyring.locate(uuid);
  using passphrase = location.kind === "found" ? location.key.passphrase : undefined;
  const openedBy = async (
    bytes: Buffer | LuksmithError | undefined,
  ): Promise<number | "none" | "unknown"> => {
    if (!Buffer.isBuffer(bytes) || passphrase === undefined) return "unknown";
    return (await findIn(keyslots, bytes, passphrase)) ?? "none";
  };
  const drift =
    Buffer.isBuffer(header) && Buffer.isBuffer(copied) ? compareHeaders(header, copied) : undefined;
  return {
    ...(Buffer.isBuffer(header) ? {} : { damage: header }),
    ...(copy === undefined ? {} : { copy }),
    ...(drift === undefined ? {} : { drift }),
    header: await openedBy(header),
    inCopy: await openedBy(copied),
  };
}

function findIn(keyslots: Keyslots, bytes: Buffer, passphrase: Secret): Promise<number | undefined> {
  return keyslots.find(bytes, passphrase);
}

/** What is wrong with a header, or with a copy, is an answer. */
export async function orDamage(read: () => Promise<Buffer>): Promise<Buffer | LuksmithError> {
  try {
    return await read();
  } catch (thrown) {
    const error = asLuksmithError(thrown);
    if (DAMAGE.has(error.code)) return error;
    throw error;
  }
}

const DAMAGE: ReadonlySet<string> = new Set([
  "LUKS_HEADER_INVALID",
  "VOLUME_NOT_FORMATTED",
  "HEADER_BACKUP_INVALID",
  "HEADER_BACKUP_MISSING",
]);
