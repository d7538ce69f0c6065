import { type Command, Option } from "commander";
import type { Container } from "../di.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { HeaderPorts } from "../headers/header-state.js";
import { type HeaderTarget, headerTargets } from "../headers/header-target.js";
import type { HeaderBackup } from "../headers/header-vault.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { GivenFormat } from "../storage/volume-argument.js";
import { volumeName } from "../storage/volume.js";
import { HEADER_VAULT, HOST, KEYRING, KEYSLOTS, STORAGE } from "../tokens.js";

export interface HeaderOptions {
  readonly format?: GivenFormat;
  readonly json?: true;
}

/** What every command about headers is told. */
export function withTarget(command: Command): Command {
  return command
    .argument("<guest>", "name or id of a guest, path of a volume, or UUID of a key")
    .argument("[disk]", "the guest's device name of the disk; without it, all that have a key")
    .addOption(
      new Option("--format <format>", "image format, where the volume does not tell").choices([
        "raw",
        "qcow2",
      ]),
    );
}

/** A volume of which it is known whose header it has, or had. */
export type KnownTarget = HeaderTarget & { readonly uuid: KeyUuid };

/** @throws as `headerTargets`; VOLUME_NOT_FORMATTED for a volume without a header that ever had a copy */
export async function knownTargets(
  container: Container,
  what: string,
  disk: string | undefined,
  { format }: HeaderOptions,
): Promise<KnownTarget[]> {
  const called = {
    what,
    ...(disk === undefined ? {} : { disk }),
    ...(format === undefined ? {} : { format }),
  };
  const targets = await headerTargets({ ...headerPorts(container), host: container.resolve(HOST) }, called);
  return targets.map(({ uuid, ...target }) => {
    if (uuid !== undefined) return { ...target, uuid };
    throw new LuksmithError("VOLUME_NOT_FORMATTED", {
      what: `volume ${volumeName(target.volume)} has no LUKS header`,
      why: "and this host has no copy that was taken from it",
      hint: "name its guest, or the UUID of its key",
    });
  });
}

export function headerPorts(container: Container): HeaderPorts {
  return {
    storage: container.resolve(STORAGE),
    keyring: container.resolve(KEYRING),
    vault: container.resolve(HEADER_VAULT),
    keyslots: container.resolve(KEYSLOTS),
  };
}

/** The disk in words: `vda of web1, /srv/web1.qcow2`. */
export function nameOf({ volume, guest, disk }: HeaderTarget): string {
  return guest === undefined || disk === undefined
    ? volumeName(volume)
    : `${disk} of ${guest.name}, ${volumeName(volume)}`;
}

/** What a machine is told of every volume. */
export function describeTarget({ volume, guest, disk, uuid }: KnownTarget) {
  return {
    ...(guest === undefined ? {} : { guest: { id: guest.id, name: guest.name } }),
    ...(disk === undefined ? {} : { disk }),
    volume: volumeName(volume),
    key: uuid,
  };
}

export function describeCopy({ takenAt, reason, volume, length, digest, path }: HeaderBackup) {
  return { takenAt: takenAt.toISOString(), reason, volume, length, digest, path };
}
