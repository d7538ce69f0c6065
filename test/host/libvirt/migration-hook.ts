import { appendFileSync, existsSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { CHECK_ANSWER, type GuestMigration } from "../../../src/host/guest-migration.js";
import type { Annotations, Guest } from "../../../src/host/host-adapter.js";
import { LibvirtHostAdapter } from "../../../src/host/libvirt/libvirt-host-adapter.js";
import { parseKeyUuid } from "../../../src/keystore/key-uuid.js";

/** What the hook does besides writing down what it sees. */
export interface HookBehaviour {
  /** Of disk vda: the secret that the source names, and the one to be named here. */
  readonly rekey?: { readonly from: string; readonly to: string };
  /** The answer to a check, a line; without it the hook has no opinion, as one that knows of no checks. */
  readonly answer?: string;
}

/** One run of the hook. */
export interface HookSight {
  readonly cause: string;
  readonly guest: { readonly id: string; readonly name: string; readonly configuration: string };
  readonly incoming?: string;
  /** How QEMU has disk vda open. */
  readonly opened?: string;
  readonly secrets?: readonly string[];
}

/**
 * A `pre-migrate` hook that uses the adapter as Luksmith's own does. `directory` has its behaviour, and gets `sights`;
 * it waits while there is a `block`. Returns the exit code.
 */
export async function run(directory: string): Promise<number> {
  const adapter = new LibvirtHostAdapter({ libvirtUri: "qemu:///system" }, new ExecaCommandRunner());
  const { migration } = adapter;
  const behaviour = JSON.parse(readFileSync(join(directory, "behaviour"), "utf8")) as HookBehaviour;
  const argv = process.argv.slice(3);
  const { cause, guest } = adapter.parseEvent({ event: "pre-migrate", argv, stdin: readFileSync(0, "utf8") });
  const { id, name, configuration } = guest;
  const sight: HookSight = {
    cause,
    guest: { id, name, configuration },
    ...(cause === "arrival" && (await sightOf(migration, guest))),
    ...(cause === "migrate" && { secrets: [...(await migration.secretUuids())] }),
  };
  appendFileSync(join(directory, "sights"), `${JSON.stringify(sight)}\n`);
  while (existsSync(join(directory, "block"))) await setTimeout(20);
  if (cause === "migrate" && behaviour.rekey !== undefined) {
    const { from, to } = behaviour.rekey;
    migration.answer(await migration.annotated(guest, blockOf(to), blockOf(from)));
  }
  if (cause !== "check" || behaviour.answer === undefined) return 0;
  writeSync(2, `${CHECK_ANSWER}${behaviour.answer}\n`);
  return 3;
}

async function sightOf(migration: GuestMigration, guest: Guest): Promise<Partial<HookSight>> {
  const { brings, opened } = await migration.incoming(guest);
  const vda = opened.get("vda");
  return { incoming: brings, ...(vda && { opened: vda }) };
}

function blockOf(uuid: string): Annotations {
  return new Map([["vda", { format: "luks", secretUuid: parseKeyUuid(uuid)! }]]);
}
