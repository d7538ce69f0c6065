import { createHash } from "node:crypto";
import type { HeaderBackupFile } from "../generated/header-backup.js";
import isHeaderBackupFile from "../generated/validate-header-backup.cjs";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { HeaderToKeep } from "./header-vault.js";

const STAMP = /^\d{8}T\d{9}Z$/;

/** The name of a copy's files without their ends, which sorts by time: `20260122T101112345Z`. */
export function stampOf(takenAt: Date): string {
  return takenAt.toISOString().replace(/[-:.]/g, "");
}

/** When a copy with this stamp was taken. */
export function dateOf(stamp: string): Date {
  const [, y, mo, d, h, mi, s, ms] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z$/.exec(stamp) ?? [];
  return new Date(`${y}-${mo}-${d}T${h}:${mi}:${s}.${ms}Z`);
}

/** The stamp that `name` is with this end, `.json` for instance; undefined for any other file. */
export function stampIn(name: string, end: string): string | undefined {
  const stamp = name.endsWith(end) ? name.slice(0, -end.length) : "";
  return STAMP.test(stamp) ? stamp : undefined;
}

export function digestOf(header: Buffer): string {
  return createHash("sha256").update(header).digest("hex");
}

/** The bytes of the file that stands beside a copy. */
export function describeBackup({ uuid, volume, header, reason }: HeaderToKeep, takenAt: Date): Buffer {
  const { length } = header;
  const file: HeaderBackupFile = {
    ...{ version: 1, uuid, takenAt: takenAt.toISOString(), reason, volume, length },
    digest: digestOf(header),
  };
  return Buffer.from(`${JSON.stringify(file)}\n`);
}

/** Undefined for bytes that do not describe the copy of this key that is called `stamp`. */
export function parseBackup(bytes: Buffer, uuid: KeyUuid, stamp: string): HeaderBackupFile | undefined {
  const value = parseJson(bytes);
  if (!isHeaderBackupFile(value)) return undefined;
  const file = value as HeaderBackupFile;
  const takenAt = new Date(file.takenAt);
  if (Number.isNaN(takenAt.getTime()) || stampOf(takenAt) !== stamp) return undefined;
  return file.uuid === uuid ? file : undefined;
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return undefined;
  }
}
