import { Argument, Command } from "commander";
import { recorded } from "../audit/recorded.js";
import type { Container } from "../di.js";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import { deleteFormer, type FormerRecord, formerOf } from "../keystore/delete-former.js";
import { lockedWith } from "../keystore/key-locks.js";
import { canDelete, type Key, type KeyDeleter, type Keystore } from "../keystore/keystore.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { disposeOf } from "../keystore/transfer/collect.js";
import { requireUnused, type VolumeClaim } from "../plan/key-disposal.js";
import { AUDIT, GUEST_LOCKS, HOST, KEY_LOCKS, KEYRING, LOGGER, STORAGE } from "../tokens.js";
import { confirm } from "./confirm.js";
import { parseKeyArgument } from "./key-argument.js";
import { open } from "./open.js";
import { print } from "./output.js";

interface Options {
  readonly volumeIsGone?: true;
  readonly yes?: true;
  readonly dryRun?: true;
}

export function deleteCommand(): Command {
  return new Command("delete")
    .summary("delete a key that nothing needs any more")
    .description(
      "Deletes one key for good, from every keystore that has it, and its former passphrases with it. Refuses while a " +
        "guest of this host or a volume uses it, and while that cannot be told.",
    )
    .addArgument(new Argument("<uuid>", "UUID of the key").argParser(parseKeyArgument))
    .option("--volume-is-gone", "the volume cannot be found or read, and never will be")
    .option("--yes", "do not ask")
    .option("--dry-run", "say what would be done, change nothing")
    .action(deleteKey);
}

async function deleteKey(uuid: KeyUuid, options: Options): Promise<void> {
  const container = open();
  const claim: VolumeClaim = options.volumeIsGone ? "gone" : "unknown";
  const first = await requireDeletable(uuid, claim, container);
  tellWhatIsLost(first);
  if (options.dryRun) {
    print(`would delete key ${uuid} from ${namesOf(first)}${withFormer(first)}`);
    return;
  }
  const { guest } = first.record;
  if (!options.yes) await confirm(`delete the key of ${printable(guest.name)} for good`, guest.name);
  const logger = container.resolve(LOGGER);
  const about = { guest: guest.name, key: uuid };
  try {
    // looked at again: whoever held the lock, or was waited for at the terminal, may have come to need it
    const work = async () => {
      const found = await requireDeletable(uuid, claim, container);
      const { disk, volume } = found.record;
      const use = { event: "delete", guest, disk, volume, key: uuid } as const;
      container.resolve(AUDIT).requireWritable();
      await deleteFormer(found.former, container.resolve(AUDIT));
      const uses = found.keystores.map(({ name: keystore }) => ({ ...use, keystore }));
      await recorded(container.resolve(AUDIT), uses, async () => {
        for (const keystore of found.keystores) await deleteFrom(keystore, uuid);
        return undefined;
      });
      // a key that no keystore has is forgotten by the cache as well
      const left = await container.resolve(KEYRING).locate(uuid);
      if (left.kind === "found") left.key.passphrase.dispose();
      return found;
    };
    const keyLocks = container.resolve(KEY_LOCKS);
    const deleted = await container
      .resolve(GUEST_LOCKS)
      .hold(guest, () => keyLocks.hold(lockedWith(first.record), work));
    logger.info("keys delete done", about);
    print(`deleted key ${uuid} from ${namesOf(deleted)}${withFormer(deleted)}`);
  } catch (thrown) {
    const error = asLuksmithError(thrown);
    logger.error("keys delete failed", { ...about, error });
    process.exitCode = error.exitCode;
  } finally {
    await logger.close();
  }
}

/** A key that may be deleted, and all keystores that have it. */
interface Found {
  readonly record: Key["record"];
  readonly keystores: readonly (Keystore & KeyDeleter)[];
  readonly former: readonly FormerRecord[];
}

/** @throws KEY_NOT_FOUND, KEY_IN_USE, and what keeps a keystore, a guest or the volume from telling */
async function requireDeletable(uuid: KeyUuid, claim: VolumeClaim, container: Container): Promise<Found> {
  const task = `cannot delete key ${uuid}`;
  const copies = await copiesOf(uuid, container);
  try {
    for (const { key } of copies) {
      await requireUnused(key, claim, {
        host: container.resolve(HOST),
        storage: container.resolve(STORAGE),
      });
    }
    const keystores = copies.map(({ keystore }) => requireDeleter(keystore));
    const record = copies[0]?.key.record;
    if (record !== undefined) {
      const former = await formerOf(uuid, await container.resolve(KEYRING).all());
      return { record, keystores, former };
    }
  } catch (thrown) {
    throw asLuksmithError(thrown).within(task);
  } finally {
    disposeOf(copies.map(({ key }) => key));
  }
  throw new LuksmithError("KEY_NOT_FOUND", {
    what: `${task}: no keystore has it`,
    hint: "see: luksmith keys list",
  });
}

/** @throws whatever a keystore throws: one that cannot be asked may have the key as well */
async function copiesOf(uuid: KeyUuid, container: Container): Promise<{ keystore: Keystore; key: Key }[]> {
  const copies: { keystore: Keystore; key: Key }[] = [];
  try {
    for (const keystore of await container.resolve(KEYRING).all()) {
      const key = await keystore.fetch(uuid);
      if (key !== undefined) copies.push({ keystore, key });
    }
    return copies;
  } catch (thrown) {
    disposeOf(copies.map(({ key }) => key));
    throw asLuksmithError(thrown).within(`cannot delete key ${uuid}`);
  }
}

function requireDeleter(keystore: Keystore): Keystore & KeyDeleter {
  if (canDelete(keystore)) return keystore;
  throw new LuksmithError("KEYSTORE_FORBIDDEN", {
    what: `keystore ${keystore.name} cannot delete keys`,
    hint: "delete it there with the keystore's own tools",
  });
}

async function deleteFrom(keystore: Keystore & KeyDeleter, uuid: KeyUuid): Promise<void> {
  try {
    await keystore.delete(uuid);
  } catch (thrown) {
    throw asLuksmithError(thrown).within(`cannot delete key ${uuid} from keystore ${keystore.name}`);
  }
}

function tellWhatIsLost({ record: { uuid, guest, disk, volume } }: Found): void {
  print(`key ${uuid} of disk ${disk} of guest ${guest.name}, volume ${volume}`);
  print("without it nobody can read that volume's copies, snapshots and backups any more");
  print("guests and volumes of other hosts cannot be seen from here");
}

function withFormer({ former: { length } }: Found): string {
  return length === 0 ? "" : `, and ${length} former passphrase${length === 1 ? "" : "s"} of it`;
}

function namesOf({ keystores }: Found): string {
  return keystores.map(({ name }) => `keystore ${name}`).join(" and ");
}
