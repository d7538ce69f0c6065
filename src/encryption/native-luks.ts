import { LuksmithError } from "../error/luksmith-error.js";
import { findTool, missingTool, type Tool } from "../exec/tools.js";
import type { StorageBackend } from "../storage/storage-backend.js";
import { volumeName } from "../storage/volume.js";
import type { AskVersions, EncryptionProvider, FormatVolume } from "./encryption-provider.js";
import { traitsIf } from "./encryption-providers.js";
import type { EncryptionSpec } from "./luks-spec.js";
import type { Trait } from "./traits.js";
import { compareVersions } from "./versions.js";

/** The first with LUKS in the block layer, and the first that hands it a passphrase (libvirt's release notes). */
const LEAST = { qemu: "2.6", libvirt: "2.2.0" };

/** What formatting a volume needs. */
const TOOLS: readonly Tool[] = ["cryptsetup", "flock", "qemu-img", "qemu-io"];

/** Bits of the volume key, by dm-crypt cipher specification: what QEMU's `luks` driver opens and we offer. */
const KEY_SIZES: ReadonlyMap<string, readonly number[]> = new Map([
  ["aes-xts-plain64", [256, 512]],
  ["aes-cbc-essiv:sha256", [128, 256]],
]);
const HASHES = ["sha1", "sha256", "sha512"];

/** LUKS1 that QEMU decrypts itself: its `luks` block driver, or `encrypt.format=luks` inside qcow2. */
export class NativeLuks implements EncryptionProvider {
  readonly name = "native";
  readonly formats = ["luks"] as const;

  constructor(private readonly toolPath: (tool: Tool) => string | undefined = findTool) {}

  async traits(versions: AskVersions): Promise<readonly Trait[]> {
    if (this.#missing().length > 0) return [];
    return traitsIf((await tooOld(versions)).length === 0, this.formats);
  }

  async obstacles(versions: AskVersions): Promise<readonly string[]> {
    return [...this.#missing().map(missingTool), ...(await tooOld(versions))];
  }

  #missing(): readonly Tool[] {
    return TOOLS.filter((tool) => this.toolPath(tool) === undefined);
  }

  async format(backend: StorageBackend, { spec, ...request }: FormatVolume): Promise<void> {
    const { volume } = request;
    refuseWhatQemuCannotOpen(spec);
    if (spec.format !== "luks" || !backend.formats.includes(spec.format)) {
      throw new LuksmithError("VOLUME_UNSUPPORTED", {
        what: `cannot encrypt ${volumeName(volume)} as ${spec.format}`,
        why: `QEMU opens luks only, and storage backend ${backend.type} carries ${backend.formats.join(", ")}`,
      });
    }
    await backend.createEncrypted({ ...request, spec: { ...spec, format: spec.format } });
  }
}

async function tooOld(versions: AskVersions): Promise<readonly string[]> {
  const { qemu, libvirt } = await versions();
  return [
    ...(compareVersions(qemu, LEAST.qemu) < 0 ? [`QEMU ${qemu} is older than ${LEAST.qemu}`] : []),
    ...(libvirt !== undefined && compareVersions(libvirt, LEAST.libvirt) < 0
      ? [`libvirt ${libvirt} is older than ${LEAST.libvirt}`]
      : []),
  ];
}

function refuseWhatQemuCannotOpen(spec: EncryptionSpec): void {
  const why = whyQemuCannotOpen(spec);
  if (why === undefined) return;
  throw new LuksmithError("REQUEST_INVALID", { what: "QEMU cannot open such a LUKS volume", why });
}

function whyQemuCannotOpen({ cipher, keySize, hash }: EncryptionSpec): string | undefined {
  const keySizes = KEY_SIZES.get(cipher);
  if (keySizes === undefined) return `cipher ${cipher} is none of ${[...KEY_SIZES.keys()].join(", ")}`;
  if (!keySizes.includes(keySize)) {
    return `cipher ${cipher} takes a key of ${keySizes.join(" or ")} bits and not of ${keySize}`;
  }
  return HASHES.includes(hash) ? undefined : `hash ${hash} is none of ${HASHES.join(", ")}`;
}
