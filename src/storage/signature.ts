import { LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { VolumeFile } from "./volume-file.js";

/** blkid's exit codes for "nothing found" and "several found, none certain". */
const NOTHING = 2;
const AMBIVALENT = 8;

/** What is said of an image that was taken for a raw volume. */
export const QCOW2_SIGNATURE = "qcow2 image";
const QCOW2 = Buffer.from("QFI\xfb", "latin1");

/** A file whose start is a volume's, open. */
export type SignedFile = Pick<VolumeFile, "fd" | "read">;

/**
 * What the volume seems to hold, in words for a message: `ext4 file system`, or undefined where nothing known was
 * found. For messages only: whether a volume is refused never depends on it, so a failure of blkid is no failure.
 */
export async function signatureOf(runner: CommandRunner, file: SignedFile): Promise<string | undefined> {
  try {
    if ((await file.read(0, QCOW2.length)).equals(QCOW2)) return QCOW2_SIGNATURE;
    const { exitCode, stdout } = await runner.run({
      tool: "blkid",
      args: ["-p", "-o", "export", "--", "/proc/self/fd/3"],
      fds: [file.fd],
      answers: [NOTHING, AMBIVALENT],
    });
    if (exitCode === AMBIVALENT) return "several signatures that contradict each other";
    return exitCode === NOTHING ? undefined : inWords(stdout);
  } catch (thrown) {
    if (thrown instanceof LuksmithError) return undefined;
    throw thrown;
  }
}

const PARTITION_TABLES: ReadonlyMap<string, string> = new Map([
  ["dos", "MBR"],
  ["gpt", "GPT"],
]);

/** blkid's export format: one `NAME=value` a line. */
function inWords(found: string): string | undefined {
  const fields = new Map(
    found.split("\n").map((line) => [line.split("=", 1)[0], line.replace(/^[^=]*=/, "")]),
  );
  const table = fields.get("PTTYPE");
  if (table !== undefined) return `${PARTITION_TABLES.get(table) ?? table} partition table`;
  const type = fields.get("TYPE");
  if (type === undefined) return undefined;
  return fields.get("USAGE") === "filesystem" ? `${type} file system` : `${type} signature`;
}
