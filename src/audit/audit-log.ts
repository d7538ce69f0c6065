import type { KeyUuid } from "../keystore/key-uuid.js";

/** What is done with a key, in the audit log's words. */
export type KeyEvent =
  | "store"
  | "format"
  | "provide"
  | "open"
  | "attach"
  | "activate"
  | "rotate"
  | "archive"
  | "convert"
  | "separate"
  | "header-restore"
  | "escrow"
  | "recover"
  | "drill"
  | "export"
  | "import"
  | "show"
  | "delete"
  | "shred"
  /** Of a volume that a disk had before its conversion, which is removed, with its data. */
  | "purge"
  /** Of a volume on Proxmox VE; its key goes with it, or is kept when it is freed. */
  | "rename"
  | "resize"
  | "clone"
  | "free";

/** One use of a key; nothing here is secret. */
export interface KeyUse {
  readonly event: KeyEvent;
  readonly guest?: { readonly id: string; readonly name: string };
  /** Device name. */
  readonly disk?: string;
  /** The storage's name of it. */
  readonly volume?: string;
  readonly key: KeyUuid;
  readonly keystore?: string;
  /** `refused` and `failed` with the error's code in `code`. */
  readonly result: "done" | "refused" | "failed";
  readonly code?: string;
  /** What else is worth keeping, a clause: `keyslot 1 destroyed`. */
  readonly detail?: string;
}

/**
 * The record of every use of a key: append-only, each entry with the hash of the one before, so that a change or a
 * removal within it shows. Says what was done after it was done; what is to be recorded even if it is cut short is
 * recorded before.
 */
export interface AuditLog {
  /**
   * Appends entries, in one go, and syncs them. Where they cannot be written, this is an error if the settings require
   * the audit, and a warning in the log if they do not.
   * @throws AUDIT_UNWRITABLE
   */
  record(...uses: readonly KeyUse[]): Promise<void>;

  /**
   * For whoever is about to use a key: fails now, before anything is done, where the settings require the audit and
   * it cannot be written. @throws AUDIT_UNWRITABLE
   */
  requireWritable(): void;
}
