import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { provesEmptiness, type StorageBackend } from "../../storage/storage-backend.js";
import { volumeName } from "../../storage/volume.js";
import type { AskVersions, EncryptionProvider, FormatVolume } from "../encryption-provider.js";
import type { Trait } from "../traits.js";

/** Legacy: plain dm-crypt, which has no header. */
export class DmCryptPlain implements EncryptionProvider {
  readonly name = "dm-crypt";
  readonly formats = ["plain"] as const;

  constructor(private readonly runner: CommandRunner) {}

  traits(_versions: AskVersions): Promise<readonly Trait[]> {
    void this.runner;
    return Promise.resolve([]);
  }

  async format(backend: StorageBackend, { volume }: FormatVolume): Promise<void> {
    if (!backend.formats.includes("plain") || !provesEmptiness(backend)) {
      throw new LuksmithError("VOLUME_UNSUPPORTED", {
        what: `cannot encrypt ${volumeName(volume)} as plain`,
        why: `storage backend ${backend.type} carries ${backend.formats.join(", ")} only`,
      });
    }
    await backend.requireEmpty(volume);
  }
}
