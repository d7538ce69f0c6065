import { Command } from "commander";
import type { Container } from "../di.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import { EXIT } from "../error/catalogue.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { HOST, KEYRING } from "../tokens.js";
import { open } from "./open.js";
import { print } from "./output.js";

export function refreshCommand(): Command {
  return new Command("refresh")
    .summary("fetch the keys of this host's guests anew")
    .description(
      "Fetches the keys of all guests of this host from their keystores, so that the copies are of now: before work " +
        "on a keystore, or by a timer, since a guest that runs for weeks asks for its keys only when it starts.",
    )
    .action(async () => {
      const container = open({ copies: "renew" });
      const outcomes = await Promise.all(
        (await keysOfGuests(container)).map((uuid) => fetch(container, uuid)),
      );
      await container.resolve(KEYRING).settled();
      const failures = outcomes.filter((outcome) => outcome !== "fetched");
      print(`${outcomes.length - failures.length} of ${outcomes.length} keys were fetched`);
      for (const why of new Set(failures)) print(`not fetched: ${why}`);
      if (failures.length > 0) process.exitCode = EXIT.unavailable;
    });
}

async function fetch(container: Container, uuid: KeyUuid): Promise<string> {
  const located = await container.resolve(KEYRING).locate(uuid);
  switch (located.kind) {
    case "found":
      located.key.passphrase.dispose();
      return located.cached?.error.message ?? "fetched";
    case "unknown":
      return `no keystore has key ${uuid}`;
    case "unavailable":
      return located.error.message;
  }
}

async function keysOfGuests(container: Container): Promise<KeyUuid[]> {
  const host = container.resolve(HOST);
  const uuids = new Set<KeyUuid>();
  for (const { id } of await host.listGuests()) {
    const guest = await host.readGuest(id).catch(gone);
    for (const { encryption_secret_uuid: own, backingSecretUuids: bases = [] } of Object.values(
      guest?.disks.mapping ?? {},
    ))
      for (const uuid of own === undefined ? bases : [own, ...bases]) uuids.add(uuid);
  }
  return [...uuids];
}

/** A guest that is transient, or was just undefined. */
function gone(thrown: unknown): undefined {
  if (asLuksmithError(thrown).code !== "GUEST_NOT_FOUND") throw thrown;
}
