import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { findTool, type Tool } from "../../exec/tools.js";
import type { LegacySettings } from "../../settings/settings.js";
import { provesEmptiness, type StorageBackend } from "../../storage/storage-backend.js";
import { volumeName } from "../../storage/volume.js";
import type { EncryptionProvider, FormatVolume } from "../encryption-provider.js";
import { traitsIf } from "../encryption-providers.js";
import type { Trait } from "../traits.js";
import { canMap, mappingObstacles } from "./dm-crypt-kernel.js";

/** Legacy: plain dm-crypt, which has no header; offered where the settings switch it on. */
export class DmCryptPlain implements EncryptionProvider {
  readonly name = "dm-crypt";
  readonly formats = ["plain"] as const;

  constructor(
    private readonly runner: CommandRunner,
    private readonly legacy: Pick<LegacySettings, "enabled">,
    private readonly toolPath: (tool: Tool) => string | undefined = findTool,
  ) {}

  async traits(): Promise<readonly Trait[]> {
    return traitsIf(this.legacy.enabled && (await canMap(this.runner, this.toolPath)), this.formats);
  }

  async obstacles(): Promise<readonly string[]> {
    return mappingObstacles(this.runner, this.toolPath);
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
