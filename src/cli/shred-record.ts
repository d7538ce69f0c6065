import { readFileSync } from "node:fs";
import { Argument, Command } from "commander";
import { LuksmithError } from "../error/luksmith-error.js";
import { systemErrorOf } from "../fs/system-error.js";
import { fingerprintOf, hostPublicKey, verifyRecord } from "../shred/signed-record.js";
import { requireRoot } from "./open.js";
import { print } from "./output.js";

export function shredVerifyCommand(): Command {
  return new Command("verify")
    .summary("check the signed record of a destruction")
    .description("Checks that a record is what this host, or the holder of another public key, has signed.")
    .addArgument(new Argument("<file>", "the record"))
    .option("--public-key <file>", "of the host that has signed it; this host's without it")
    .action((file: string, { publicKey }: { publicKey?: string }) => {
      if (publicKey === undefined) requireRoot();
      const key = publicKey === undefined ? hostPublicKey() : read(publicKey);
      const { volume, guest, disk, host, endedAt, persons, by } = verifyRecord(read(file), key);
      const who = persons.map(({ uid, role }) => `user ${uid} ${role}`).join(", ") || `user ${by.uid}`;
      const of = guest === undefined ? "" : `disk ${disk ?? ""} of guest ${guest.name}, `;
      print(
        `signed by ${fingerprintOf(key)}: ${of}volume ${volume}, shredded on ${host} at ${endedAt} (${who})`,
      );
    });
}

export function shredKeyCommand(): Command {
  return new Command("key")
    .summary("print the public key that checks this host's records")
    .description(
      "Prints the public half of the key that this host signs records with, which is made at its first use.",
    )
    .action(() => {
      requireRoot();
      print(hostPublicKey().trimEnd());
    });
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    const why = systemErrorOf(thrown)?.text;
    if (why === undefined) throw thrown;
    throw new LuksmithError("USAGE", { what: `cannot read ${path}`, why });
  }
}
