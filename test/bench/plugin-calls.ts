import { fileURLToPath } from "node:url";
import type { BenchNode } from "./node.js";
import { runProgram } from "./program.js";
import { type Row, row } from "./row.js";

const SCRIPT = fileURLToPath(new URL("plugin-calls.pl", import.meta.url));
const VOLUMES = 50;
const ROUNDS = 7;
const TARGET = 2;

const NAMES = {
  status: ["status of a storage", "the same of a plain directory"],
  path: ["path of a volume", "the same in a plain directory"],
  volume_size_info: ["size of a volume", "qemu-img info"],
  list_images: [`list of ${VOLUMES} volumes`, "qemu-img info for each"],
} as const;

interface Answer {
  /** How many volumes the list has. */
  readonly listed: number;
  readonly times: Readonly<Record<keyof typeof NAMES, { readonly enc: number[]; readonly plain: number[] }>>;
}

/** What the daemons of Proxmox VE ask all the time, in one process of Perl. */
export function benchPluginCalls(node: BenchNode): Row[] {
  const [volume = ""] = node.volumes(150, VOLUMES);
  const libraries = ["test/fake/proxmox/perl5", "src/host/proxmox/perl"].map(
    (path) => `-I${node.repository}${path}`,
  );
  const argv = ["/usr/bin/perl", ...libraries, SCRIPT, String(ROUNDS), volume] as const;
  const { listed, times } = JSON.parse(runProgram({ argv: [...argv] })) as Answer;
  if (listed !== VOLUMES) throw new Error(`the list has ${listed} volumes instead of ${VOLUMES}`);
  return (Object.keys(NAMES) as (keyof typeof NAMES)[]).map((call) => {
    const [subject, baseline] = NAMES[call];
    return row(
      { name: `${subject} of type luksmith`, milliseconds: times[call].enc },
      { name: baseline, milliseconds: times[call].plain },
      TARGET,
    );
  });
}
