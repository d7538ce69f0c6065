import type { DiskMapping } from "../disk-info/disk-info.js";
import { legacyMappingName } from "../encryption/dm-crypt/mapping-name.js";
import type { EncryptionSpec } from "../encryption/luks-spec.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { ConfiguredGuest, MappingAnnotation } from "../host/host-adapter.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Secret } from "../secret/secret.js";
import type { LegacySettings } from "../settings/settings.js";
import type { StorageRegistry } from "../storage/index.js";
import type { PathVolume } from "../storage/volume.js";
import { VolumeFile } from "../storage/volume-file.js";
import { fittingKey } from "./fitting-key.js";
import { START } from "./known-content.js";

/** What an adopted disk is annotated with, but for its key. */
interface Adoption {
  readonly annotation: Omit<MappingAnnotation, "secretUuid">;
  /** The key that an earlier adoption has annotated it with. */
  readonly replaced: KeyUuid | undefined;
}

/**
 * An earlier adoption may have taken a wrong key: one that is proven to be right can take its place.
 * @throws VOLUME_UNSUPPORTED if the guest's disk is not the mapping that Nova makes of the volume
 */
export function requireNovasMapping(
  guest: ConfiguredGuest,
  disk: DiskMapping,
  volume: PathVolume,
  proof: Proof,
): Adoption {
  const mapping = legacyMappingName(volume);
  const annotation = { format: "plain", mapping, volume } as const;
  const names = (path: string) => disk.volume.kind === "block" && disk.volume.path === path;
  if (!disk.encrypted && names(`/dev/mapper/${mapping}`)) return { annotation, replaced: undefined };
  const replaced = disk.encryption_secret_uuid;
  const isAdopted = disk.encryption_format === "plain" && disk.mapping === mapping && names(volume.path);
  if (isAdopted && replaced !== undefined && proof === "wanted") return { annotation, replaced };
  throw new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `cannot adopt disk ${disk.dev} of guest ${guest.name}`,
    why: disk.encrypted
      ? `it is annotated as encrypted already, under key ${replaced ?? "that is not named"}`
      : `Nova opens ${volume.path} as /dev/mapper/${mapping}, and this is not what the disk names`,
    hint: isAdopted
      ? "if that is the wrong key: a key that is verified can replace it, so leave --unverified out"
      : "check the disk's source and the volume: virsh domblklist, lvs",
  });
}

/** @throws VOLUME_UNSUPPORTED, LUKS_HEADER_INVALID, VOLUME_NOT_FOUND */
export async function requireLogicalVolume(volume: PathVolume, storage: StorageRegistry): Promise<void> {
  const backend = await storage.backendFor(volume);
  const what = `cannot adopt volume ${volume.path}`;
  if (!backend.formats.includes("plain")) {
    const why = `plain dm-crypt was for logical volumes alone, and this is of storage ${backend.type}`;
    throw new LuksmithError("VOLUME_UNSUPPORTED", { what, why });
  }
  const probe = await backend.probe(volume, "header");
  if (probe.kind !== "luks" && probe.kind !== "bad-luks") return;
  throw new LuksmithError("VOLUME_UNSUPPORTED", { what, why: "it has a LUKS header, and is not plain" });
}

/** Whether something known must be found in what the key decrypts. */
type Proof = "wanted" | "waived";

/** How the volume is encrypted, and what shows that the key is the right one; undefined where nothing does. */
interface Finding {
  readonly spec: EncryptionSpec;
  readonly content: string | undefined;
}

/** Only reads. @throws PASSPHRASE_REJECTED, VOLUME_NOT_FOUND, VOLUME_UNREADABLE */
export async function findSpec(
  { path }: PathVolume,
  passphrase: Secret,
  legacy: LegacySettings,
  proof: Proof,
): Promise<Finding> {
  await using file = await VolumeFile.open(path, "read", "block device");
  const fitting = fittingKey(await file.read(0, START), legacy, passphrase);
  if (fitting !== undefined) return fitting;
  const { cipher, keySize, hash } = legacy;
  if (proof === "waived") return { spec: { format: "plain", cipher, keySize, hash }, content: undefined };
  throw new LuksmithError("PASSPHRASE_REJECTED", {
    what: `nothing known is found on volume ${path} with this key`,
    why: `tried ${cipher} with ${keySize} bits, which the settings' legacy says, and every hash; a wrong key would destroy what a guest writes over`,
    hint: "check legacy.cipher and legacy.keySize against Nova's nova.conf, and the key; if the disk holds nothing that is known: --unverified",
  });
}
