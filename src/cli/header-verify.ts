import { Command } from "commander";
import { LuksmithError } from "../error/luksmith-error.js";
import { problemOf } from "../error/problem.js";
import type { HeaderVerifyOutput } from "../generated/header-verify.js";
import validate from "../generated/validate-header-verify.cjs";
import { type HeaderState, stateOf } from "../headers/header-state.js";
import {
  describeCopy,
  describeTarget,
  headerPorts,
  type HeaderOptions,
  type KnownTarget,
  knownTargets,
  nameOf,
  withTarget,
} from "./header-options.js";
import { open } from "./open.js";
import { print, printJson } from "./output.js";

export function verifyCommand(): Command {
  return withTarget(new Command("verify"))
    .summary("compare a header with its newest copy and its key")
    .description(
      "Compares LUKS headers with their newest copies, keyslot by keyslot, and proves that the key's passphrase opens both. " +
        "Fails where a header is damaged, or is not as in its copy. Changes nothing.",
    )
    .option("--json", "for machines")
    .action(verify);
}

async function verify(what: string, disk: string | undefined, options: HeaderOptions): Promise<void> {
  const container = open();
  const verified: { target: KnownTarget; state: HeaderState; problem: LuksmithError | undefined }[] = [];
  for (const target of await knownTargets(container, what, disk, options)) {
    const state = await stateOf(target, headerPorts(container));
    verified.push({ target, state, problem: problemIn(target, state) });
  }
  if (options.json) {
    const volumes = verified.map(({ target, state, problem }) => ({
      ...describeTarget(target),
      result: problem === undefined ? ("good" as const) : ("bad" as const),
      header: state.header,
      ...(state.copy && { copy: { ...describeCopy(state.copy), opens: state.inCopy } }),
      ...(state.drift?.kind === "changed" && {
        keyslots: state.drift.keyslots.map((drift) => ({ ...drift })),
      }),
      ...(problem && { problem: problemOf(problem) }),
    }));
    printJson(validate, { volumes } satisfies HeaderVerifyOutput);
  } else {
    for (const { target, state, problem } of verified) {
      print(`${nameOf(target)}: ${problem === undefined ? good(state) : bad(problem)}`);
    }
  }
  const first = verified.find(({ problem }) => problem !== undefined)?.problem;
  if (first !== undefined) process.exitCode = first.exitCode;
}

function good({ header, copy }: HeaderState): string {
  const opened = header === "unknown" ? "no keystore gave its key" : `its key opens keyslot ${header}`;
  return `as in its copy of ${copy?.takenAt.toISOString() ?? ""}; ${opened}`;
}

function bad({ message, why, hint }: LuksmithError): string {
  return [
    message,
    ...(why === undefined ? [] : [why]),
    ...(hint === undefined ? [] : [`hint: ${hint}`]),
  ].join("\n  ");
}

/** The worst that is wrong, undefined for nothing. */
function problemIn({ uuid }: KnownTarget, state: HeaderState): LuksmithError | undefined {
  const { damage, copy, drift, header, inCopy } = state;
  const hint = "luksmith header restore writes the copy back; luksmith header list shows older ones";
  if (damage !== undefined) {
    const { why } = damage;
    return new LuksmithError("LUKS_HEADER_INVALID", {
      what: "the LUKS header is damaged",
      why: why ?? damage.message,
      hint: copy === undefined ? "this host has no copy of it: look for one on other hosts" : hint,
    });
  }
  if (header === "none") {
    return new LuksmithError("PASSPHRASE_REJECTED", {
      what: `the passphrase of key ${uuid} opens no keyslot`,
      why: inCopy === "none" ? "neither of the header nor of its newest copy" : driftText(state),
      hint: typeof inCopy === "number" ? hint : "try older copies: luksmith header list",
    });
  }
  if (copy === undefined) {
    return new LuksmithError("HEADER_BACKUP_MISSING", {
      what: "there is no copy of the LUKS header on this host",
      hint: "luksmith header backup makes one",
    });
  }
  if (drift?.kind === "same") return undefined;
  return new LuksmithError("HEADER_BACKUP_INVALID", {
    what: "the LUKS header is not as in its newest copy",
    why: driftText(state),
    hint: "if the header is right, keep a copy of it: luksmith header backup",
  });
}

function driftText({ drift }: HeaderState): string {
  switch (drift?.kind) {
    case undefined:
      return "the copy itself is damaged";
    case "same":
      return "the copy is the same";
    case "foreign":
      return `${drift.what} is another one`;
    case "changed":
      return drift.keyslots.map(({ keyslot, change }) => `keyslot ${keyslot} was ${change}`).join(", ");
  }
}
