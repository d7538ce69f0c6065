import { LuksFormatter } from "../../src/encryption/luks-formatter.js";
import { PAYLOAD_OFFSET } from "../../src/encryption/luks-header.js";
import type { LuksPiece } from "../../src/encryption/luks-image.js";
import type { LuksSpec } from "../../src/encryption/luks-spec.js";
import type { CommandRunner } from "../../src/exec/command-runner.js";
import type { KeyUuid } from "../../src/keystore/key-uuid.js";
import type { Secret } from "../../src/secret/secret.js";

const SECTOR = 512;

/** All of a new header, to its payload. */
export async function newHeader(
  runner: CommandRunner,
  { uuid, spec, passphrase }: { uuid: KeyUuid; spec: LuksSpec; passphrase: Secret },
): Promise<Buffer> {
  const { pieces } = await new LuksFormatter(runner).makeHeader(uuid, spec, passphrase);
  return withPieces(Buffer.alloc(PAYLOAD_OFFSET), pieces);
}

export function withPieces(header: Buffer, pieces: readonly LuksPiece[]): Buffer {
  const result = Buffer.from(header);
  for (const { offset, bytes } of pieces) bytes.copy(result, offset);
  return result;
}

/** The pieces as the sectors that a disk writes whole or not at all, in their order. */
export function sectorsOf(pieces: readonly LuksPiece[]): LuksPiece[] {
  return pieces.flatMap(({ offset, bytes }) =>
    Array.from({ length: Math.ceil(bytes.length / SECTOR) }, (_, index) => ({
      offset: offset + index * SECTOR,
      bytes: bytes.subarray(index * SECTOR, (index + 1) * SECTOR),
    })),
  );
}
