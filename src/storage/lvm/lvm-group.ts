import type { CommandRunner } from "../../exec/command-runner.js";
import { runLvm } from "./lvm-command.js";
import { fullName, type LvName } from "./lvm-name.js";

/** What LVM knows of the group that a volume is in. */
export interface GroupReport {
  /** Bytes that are in no volume. */
  readonly free: bigint;
  /** Whether it is made for several hosts at once (lvmlockd(8), or clvmd before it). */
  readonly isShared: boolean;
  /** Whether LVM keeps all hosts but one from using it (lvmsystemid(7)). */
  readonly hasOwner: boolean;
}

const FORMAT = ["--reportformat", "json", "--units", "b", "--nosuffix"];
const FIELDS = "vg_free,vg_shared,vg_clustered,vg_systemid";

/** @throws TOOL_FAILED, with LVM's reason, TOOL_MISSING, TOOL_TIMEOUT */
export async function reportGroup(runner: CommandRunner, lv: LvName): Promise<GroupReport> {
  const json = await runLvm(runner, "lvs", [...FORMAT, "-o", FIELDS, "--", fullName(lv)]);
  const { report } = JSON.parse(json) as { readonly report: readonly { readonly lv: readonly Row[] }[] };
  const row = report[0]?.lv[0];
  if (row === undefined) throw new Error("lvs did not report a group");
  return {
    free: BigInt(row.vg_free),
    isShared: [row.vg_shared, row.vg_clustered].some((text) => text !== "" && text !== "0"),
    hasOwner: row.vg_systemid !== "",
  };
}

interface Row {
  readonly vg_free: string;
  readonly vg_shared: string;
  readonly vg_clustered: string;
  readonly vg_systemid: string;
}
