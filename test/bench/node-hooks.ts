import { readdirSync } from "node:fs";
import { interleave } from "./compare.js";
import type { BenchNode } from "./node.js";
import { NODE, processorTimeOf, type ProgramAction, programAction, runProgram } from "./program.js";
import { type Row, row, type Side } from "./row.js";

const TARGET = { one: 4, sixteen: 1.5 };

/** The hook of a guest's start as a process, from exec to exit, its passphrases in files. */
export async function benchNodeHooks(node: BenchNode): Promise<Row[]> {
  const guests = {
    one: { vmid: 201, disks: node.volumes(201, 1) },
    sixteen: { vmid: 216, disks: node.volumes(216, 16) },
  };
  for (const { vmid, disks } of Object.values(guests)) provesToWork(node, vmid, disks);
  const hook = ({ vmid, disks }: { readonly vmid: number; readonly disks: readonly string[] }) =>
    programAction(() => node.preStart(vmid, disks), { after: () => node.withdraw(vmid) });
  const actions = {
    "node -e 0": programAction(NODE),
    "pre-start on Proxmox VE, 1 disk": hook(guests.one),
    "pre-start on Proxmox VE, 16 disks": hook(guests.sixteen),
  } as const satisfies Record<string, ProgramAction>;
  const wall = await interleave(actions, { rounds: 11, seconds: 20 });
  const processor = await interleave(actions, { rounds: 5, seconds: 10 }, processorTimeOf);
  const side = (name: keyof typeof actions): Side => ({
    name,
    milliseconds: wall[name],
    processorMilliseconds: processor[name],
  });
  return [
    row(side("pre-start on Proxmox VE, 1 disk"), side("node -e 0"), TARGET.one),
    row(side("pre-start on Proxmox VE, 16 disks"), side("pre-start on Proxmox VE, 1 disk"), TARGET.sixteen),
  ];
}

/** @throws unless the hook does what is timed */
function provesToWork(node: BenchNode, vmid: number, disks: readonly string[]): void {
  runProgram(node.preStart(vmid, disks));
  const starts = readdirSync(`/run/luksmith/vm/${vmid}`);
  const files = starts.flatMap((start) => readdirSync(`/run/luksmith/vm/${vmid}/${start}`));
  if (files.length !== disks.length)
    throw new Error(`pre-start wrote ${files.length} passphrases instead of ${disks.length}`);
  node.withdraw(vmid);
}
