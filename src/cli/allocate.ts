import { Argument, Command, InvalidArgumentError, Option } from "commander";
import { LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import { formatBytes, parseBytes } from "../plan/bytes.js";
import { BACKEND_TYPES } from "../storage/index.js";
import { canAllocate, type StorageBackend, type VolumeAllocator } from "../storage/storage-backend.js";
import type { Volume } from "../storage/volume.js";
import { volumeExists } from "../storage/volume-error.js";
import { parseRbdName } from "../storage/volume-name.js";
import { STORAGE } from "../tokens.js";
import { open } from "./open.js";
import { print } from "./output.js";

interface Options {
  readonly backend: string;
  readonly pool?: string;
  readonly dryRun?: true;
}

export function allocateCommand(): Command {
  return new Command("allocate")
    .summary("make a new volume for an encrypted disk")
    .description(
      "Makes a new, empty volume that is as much larger than the disk as its LUKS header is. It is not encrypted " +
        "yet: attach it to a guest, then run luksmith protect.",
    )
    .addOption(new Option("--backend <type>", "kind of storage").choices(BACKEND_TYPES).makeOptionMandatory())
    .option("--pool <name>", "where it is taken from, for storage with a choice: the thin pool")
    .option("--dry-run", "say what would be done, change nothing")
    .argument("<volume>", "absolute path, or rbd:POOL/IMAGE, rbd:POOL/NAMESPACE/IMAGE")
    .addArgument(
      new Argument("<size>", "bytes that its guest shall see, or with a unit: 20G").argParser(parseSize),
    )
    .action(allocate);
}

function parseSize(text: string): bigint {
  const bytes = parseBytes(text);
  if (bytes !== undefined) return bytes;
  throw new InvalidArgumentError("It must be a number of bytes, or one with K, M, G or T (of 1024): 20G.");
}

async function allocate(name: string, size: bigint, { backend: type, pool, dryRun }: Options): Promise<void> {
  const volume = volumeOf(type, name);
  if (pool !== undefined && volume.kind === "file") throw poolless(type);
  const backend = allocatorOf(type, open().resolve(STORAGE).all());
  const disk = `a disk of ${formatBytes(size)}`;
  if (dryRun) {
    if ((await backend.probe(volume, "header")).kind !== "absent") throw volumeExists(name);
    print(`would make ${name} for ${disk}`);
    return;
  }
  const own = await backend.allocate({ volume, guestSize: size, ...(pool === undefined ? {} : { pool }) });
  print(`made ${name} of ${formatBytes(own)} for ${disk}`);
}

/** @throws USAGE */
function volumeOf(type: string, name: string): Volume {
  const image = parseRbdName(name);
  if (type === "rbd" && image !== undefined) return image;
  if (type !== "rbd" && /^\/[^\p{Cc}]+$/u.test(name)) {
    return type === "raw" || type === "qcow2"
      ? { kind: "file", path: name, format: type }
      : { kind: "block", path: name, format: "raw" };
  }
  throw new LuksmithError("USAGE", {
    what: `"${printable(name)}" names no volume of storage ${type}`,
    hint: type === "rbd" ? "rbd:POOL/IMAGE or rbd:POOL/NAMESPACE/IMAGE" : "it must be an absolute path",
  });
}

function poolless(type: string): LuksmithError {
  return new LuksmithError("USAGE", {
    what: `storage ${type} has no pools`,
    hint: "leave --pool out",
  });
}

function allocatorOf(type: string, backends: readonly StorageBackend[]): StorageBackend & VolumeAllocator {
  const backend = backends.find((candidate) => candidate.type === type);
  if (backend !== undefined && canAllocate(backend)) return backend;
  const able = backends.filter(canAllocate).map((candidate) => candidate.type);
  throw new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `cannot make a volume on storage ${type}`,
    why: `Luksmith makes volumes on ${able.join(", ")} only`,
    hint: "make it with the storage's own tools, 2 MiB larger than what the guest shall see",
  });
}
