import type { DiskMapping } from "../../src/disk-info/disk-info.js";
import type { MigrationAnswer } from "../../src/generated/migration-answer.js";
import { checkReport, type CheckReport, type Intent } from "../../src/migration/check-report.js";
import { parseRoute, type RouteOptions } from "../../src/migration/transport.js";
import { guestWith, uuid } from "../plan/builders.js";

export const TO = "qemu+tls://host2/system";
type AnsweredDisk = MigrationAnswer["disks"][number];

export function there(device: string, n: number, content: AnsweredDisk["content"]): AnsweredDisk {
  return { device, volume: `/srv/vm/${device}.img`, key: uuid(n), openedBy: "native", content };
}

interface Scene extends Omit<RouteOptions, "to"> {
  readonly to?: string;
  readonly disks?: readonly DiskMapping[];
  readonly guest?: Partial<Intent["guest"]>;
  readonly here?: string;
  /** Without --tls. */
  readonly plaintext?: true;
  readonly answer?: Partial<MigrationAnswer> | "none";
}

/** A running guest, of which the target with the same version answers. */
export function check({
  disks = [],
  guest = {},
  here,
  plaintext,
  answer = {},
  to = TO,
  ...more
}: Scene): CheckReport {
  const { id, name, disks: mapped } = guestWith(...disks);
  const intent: Intent = {
    guest: { id, name, disks: mapped, running: true, saved: false, ...guest },
    route: parseRoute({ to, ...(!plaintext && { tls: true }), ...more }),
    here: here ?? "qemu:///system",
    version: "0.1.0",
  };
  return checkReport(intent, answer === "none" ? undefined : { version: "0.1.0", disks: [], ...answer });
}

export const refusals = ({ findings }: CheckReport) =>
  findings.flatMap(({ level, code, what }) => (level === "refused" ? [`${code}: ${what}`] : []));
export const warnings = ({ findings }: CheckReport) =>
  findings.flatMap(({ level, what }) => (level === "warning" ? [what] : []));
export const said = ({ findings }: CheckReport) =>
  findings.map(({ what, why = "", hint = "" }) => [what, why, hint].join("\n")).join("\n");
export const contents = (report: CheckReport) =>
  report.disks.map(({ device, content }) => `${device} ${content}`);
