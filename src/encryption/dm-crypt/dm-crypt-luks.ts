import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { findTool, type Tool } from "../../exec/tools.js";
import type { StorageBackend } from "../../storage/storage-backend.js";
import { volumeName } from "../../storage/volume.js";
import type { EncryptionProvider, FormatVolume } from "../encryption-provider.js";
import { traitsIf } from "../encryption-providers.js";
import { isLuks } from "../luks-spec.js";
import type { Trait } from "../traits.js";
import { canMap, mappingObstacles } from "./dm-crypt-kernel.js";

/** LUKS1 and LUKS2 that the kernel decrypts. */
export class DmCryptLuks implements EncryptionProvider {
  readonly name = "dm-crypt";
  readonly formats = ["luks", "luksv2"] as const;

  constructor(
    private readonly runner: CommandRunner,
    private readonly toolPath: (tool: Tool) => string | undefined = findTool,
  ) {}

  async traits(): Promise<readonly Trait[]> {
    return traitsIf(await canMap(this.runner, this.toolPath), this.formats);
  }

  async obstacles(): Promise<readonly string[]> {
    return mappingObstacles(this.runner, this.toolPath);
  }

  async format(backend: StorageBackend, { spec, ...request }: FormatVolume): Promise<void> {
    if (!isLuks(spec) || !backend.formats.includes(spec.format)) {
      throw new LuksmithError("VOLUME_UNSUPPORTED", {
        what: `cannot encrypt ${volumeName(request.volume)} as ${spec.format}`,
        why: `storage backend ${backend.type} carries ${backend.formats.join(", ")} only`,
      });
    }
    await backend.createEncrypted({ ...request, spec: { ...spec, format: spec.format } });
  }
}
