import type { CommandRunner } from "../../exec/command-runner.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import { askLvm, runLvm } from "./lvm-command.js";
import { fullName, type LvName } from "./lvm-name.js";
import { volumeAbsent, volumeUnreadable } from "../volume-error.js";

/** What LVM knows of a logical volume, active or not. */
export interface LvReport {
  readonly uuid: string;
  /** Bytes; of a snapshot that is not thin, those of its store, and not what it shows. */
  readonly size: bigint;
  /** Bytes by which it grows: an extent of the volume group on each of its stripes. */
  readonly extent: bigint;
  readonly isActive: boolean;
  /** Words of `lv_layout` and `lv_role` (lvmreport(7)). */
  readonly layout: ReadonlySet<string>;
  readonly role: ReadonlySet<string>;
}

const FORMAT = ["--reportformat", "json", "--units", "b", "--nosuffix"];
const FIELDS = "lv_uuid,lv_size,lv_active,lv_layout,lv_role,vg_extent_size,data_stripes";

/** Undefined for a volume that does not exist. @throws TOOL_FAILED, with LVM's reason, TOOL_MISSING, TOOL_TIMEOUT */
export async function reportLv(runner: CommandRunner, lv: LvName): Promise<LvReport | undefined> {
  const answer = await askLvm(runner, "lvs", [...FORMAT, "-a", "-o", FIELDS, "--", fullName(lv)]);
  if (answer.kind === "done") return reportOf(rowsOf(answer.stdout));
  // LVM has one exit code for all
  if (/^(?:Volume group "[^"]*" not found|Failed to find logical volume )/.test(answer.reason))
    return undefined;
  throw new LuksmithError("TOOL_FAILED", { what: "lvs failed", why: answer.reason });
}

/** @param path for messages @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE, TOOL_MISSING, TOOL_TIMEOUT */
export async function reportLvAt(runner: CommandRunner, path: string, lv: LvName): Promise<LvReport> {
  const report = await reportLv(runner, lv).catch((thrown: unknown) => {
    throw unreadable(path, thrown);
  });
  if (report === undefined) throw volumeAbsent(path);
  return report;
}

/**
 * How many snapshots it has, and thin volumes that begin with its bytes.
 * @param path for messages @throws VOLUME_UNREADABLE, TOOL_MISSING, TOOL_TIMEOUT
 */
export async function dependentsOf(
  runner: CommandRunner,
  path: string,
  { group, volume }: LvName,
): Promise<number> {
  const selection = ["-S", `origin="${volume}"`];
  const args = [...FORMAT, "-o", "lv_name", ...selection, "--", group];
  const report = await runLvm(runner, "lvs", args).catch((thrown: unknown) => {
    throw unreadable(path, thrown);
  });
  return rowsOf(report).length;
}

/** A logical volume in the list of its group's. */
export interface LvEntry {
  readonly name: string;
  readonly uuid: string;
  /** The thin pool that it is in; empty for none. */
  readonly pool: string;
  /** What it began with, as long as that is there; empty for none. */
  readonly origin: string;
  /** Words of `lv_layout` (lvmreport(7)). */
  readonly layout: ReadonlySet<string>;
  readonly tags: readonly string[];
  readonly isReadOnly: boolean;
}

/** The volumes of a group, without LVM's own parts. @throws TOOL_FAILED, TOOL_MISSING, TOOL_TIMEOUT */
export async function listLvs(runner: CommandRunner, group: string): Promise<readonly LvEntry[]> {
  const fields = "lv_name,lv_uuid,pool_lv,origin,lv_layout,lv_tags,lv_permissions";
  const report = await runLvm(runner, "lvs", [...FORMAT, "-o", fields, "--", group]);
  return rowsOf(report).map((row) => ({
    name: field(row, "lv_name"),
    uuid: field(row, "lv_uuid"),
    pool: field(row, "pool_lv"),
    origin: field(row, "origin"),
    layout: new Set(field(row, "lv_layout").split(",")),
    tags: field(row, "lv_tags")
      .split(",")
      .filter((tag) => tag !== ""),
    // `read-only-override`: by the administrator's configuration, which no permission changes
    isReadOnly: field(row, "lv_permissions") === "read-only",
  }));
}

/** What LVM does not tell about a volume counts as what cannot be read of it. */
function unreadable(path: string, thrown: unknown): unknown {
  if (!(thrown instanceof LuksmithError) || thrown.code !== "TOOL_FAILED") return thrown;
  return volumeUnreadable(path, thrown.why ?? thrown.message);
}

type Row = Readonly<Record<string, string | undefined>>;

/** One row for each segment; it grows at its end. */
function reportOf(rows: readonly Row[]): LvReport | undefined {
  const row = rows.at(-1);
  if (row === undefined) return undefined;
  return {
    uuid: field(row, "lv_uuid"),
    size: BigInt(field(row, "lv_size")),
    extent: BigInt(field(row, "vg_extent_size")) * BigInt(Math.max(1, Number(field(row, "data_stripes")))),
    isActive: field(row, "lv_active") !== "",
    layout: new Set(field(row, "lv_layout").split(",")),
    role: new Set(field(row, "lv_role").split(",")),
  };
}

function field(row: Row, name: string): string {
  const value = row[name];
  if (value === undefined) throw new Error(`lvs did not report ${name}`);
  return value;
}

/** `{"report": [{"lv": [{…}, …]}]}`, every value as text; newer versions have `log` beside it. */
function rowsOf(json: string): readonly Row[] {
  const { report } = JSON.parse(json) as { readonly report: readonly { readonly lv?: readonly Row[] }[] };
  return report.flatMap(({ lv = [] }) => lv);
}
