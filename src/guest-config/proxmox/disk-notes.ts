import { visible } from "../../error/printable.js";
import { type KeyUuid, parseKeyUuid } from "../../keystore/key-uuid.js";

/** What the description of a guest says about one of its encrypted disks. */
export interface DiskNote {
  readonly disk: string;
  readonly key: KeyUuid;
  /** Of the key's record; absent where no keystore has told it. */
  readonly record?: NotedRecord;
}

export interface NotedRecord {
  /** `luks` */
  readonly format: string;
  readonly cipher: string;
  /** Bits. */
  readonly keySize: number;
  /** Name of the keystore in the settings. */
  readonly keystore: string;
}

const NOTE =
  /^\* ([a-z]+[0-9]+): (?:([a-z0-9]+), ([^,]+), ([0-9]{1,5}) bits, )?key ([0-9a-f-]{36})(?:, keystore (.+))?$/;

/** `* scsi0: luks, aes-xts-plain64, 512 bits, key 7f3a…, keystore vault`: an item of a list in Markdown. */
export function renderNote({ disk, key, record }: DiskNote): string {
  if (record === undefined) return `* ${disk}: key ${key}`;
  const { format, cipher, keySize, keystore } = record;
  return visible(`* ${disk}: ${format}, ${cipher}, ${keySize} bits, key ${key}, keystore ${keystore}`);
}

/** Undefined for a line that says nothing about a disk, or was changed by hand. */
export function parseNote(line: string): DiskNote | undefined {
  const [, disk, format, cipher, keySize, uuid = "", keystore] = NOTE.exec(line.trimEnd()) ?? [];
  const key = parseKeyUuid(uuid);
  if (disk === undefined || key === undefined) return undefined;
  if (format === undefined || cipher === undefined || keystore === undefined) return { disk, key };
  return { disk, key, record: { format, cipher, keySize: Number(keySize), keystore } };
}
