import { fstatSync, readSync } from "node:fs";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { Secret } from "../../secret/secret.js";
import { openMemoryFile, secretFile } from "../../secret/secret-file.js";

/** What cryptsetup writes before the volume key: hexadecimal bytes with blanks and line ends between. */
const LABEL = Buffer.from("MK dump:", "latin1");

/**
 * The volume key of a LUKS1 container, from cryptsetup, which writes it to memory of ours: it is on no disk, and in no
 * string. @param header to the payload @param bits of the key
 * @throws TOOL_FAILED, also when no keyslot opens with the passphrase
 */
export async function readVolumeKey(
  runner: CommandRunner,
  header: Buffer,
  passphrase: Secret,
  bits: number,
): Promise<Secret> {
  // cryptsetup wants a payload behind the header; none of a LUKS1 header is secret
  const container = Secret.own(Buffer.concat([header, Buffer.alloc(header.length)]));
  using containerFile = secretFile(container);
  container.dispose();
  using passphraseFile = secretFile(passphrase);
  using stdout = openMemoryFile();
  using stderr = openMemoryFile();
  await runner.run({
    tool: "cryptsetup",
    args: [
      ...["luksDump", "-q", "--dump-volume-key"],
      ...["--key-file", "/proc/self/fd/3", "--", "/proc/self/fd/4"],
    ],
    fds: [passphraseFile.fd, containerFile.fd],
    outputs: { stdout: stdout.fd, stderr: stderr.fd },
  });
  using dump = contentOf(stdout.fd);
  return dump.use((text) => keyIn(text, bits / 8));
}

function contentOf(fd: number): Secret {
  const bytes = Buffer.alloc(fstatSync(fd).size);
  readSync(fd, bytes, 0, bytes.length, 0);
  return Secret.own(bytes);
}

function keyIn(dump: Buffer, length: number): Secret {
  const label = dump.indexOf(LABEL);
  const key = Buffer.alloc(length);
  let digits = 0;
  for (let at = label + LABEL.length; label !== -1 && at < dump.length && digits < 2 * length; at++) {
    const digit = valueOf(dump[at] ?? 0);
    if (digit === undefined) continue;
    key[digits >> 1] = ((key[digits >> 1] ?? 0) << 4) | digit;
    digits++;
  }
  if (digits === 2 * length) return Secret.own(key);
  key.fill(0);
  throw new LuksmithError("TOOL_FAILED", { what: "cryptsetup did not tell the volume key" });
}

/** Of a hexadecimal digit, as cryptsetup writes it. */
function valueOf(code: number): number | undefined {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  if (code >= 0x61 && code <= 0x66) return code - 0x61 + 10;
  return undefined;
}
