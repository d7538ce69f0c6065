import type { CommandRunner } from "../exec/command-runner.js";
import { volumeBusy, volumeUnwritable } from "./volume-error.js";
import type { VolumeFile } from "./volume-file.js";

/**
 * Makes sure that no QEMU process uses the file: opens it for writing as QEMU does, which the image locks of a guest
 * or a block job forbid (QEMU >= 2.10; also from another host of a shared file system). As raw, so that nothing in
 * the image is read or mended. Guests that share a disk on purpose (share-rw) hold no such lock.
 * @throws VOLUME_BUSY, VOLUME_WRITE_FAILED
 */
export async function refuseIfInUse(runner: CommandRunner, file: VolumeFile): Promise<void> {
  const { exitCode, stderr } = await runner.run({
    tool: "qemu-io",
    args: ["-f", "raw", "-c", "quit", "--", "/proc/self/fd/3"],
    fds: [file.fd],
    // it could not open the file: the text says whether a lock is why
    answers: [1],
  });
  if (exitCode === 0) return;
  if (/Failed to get .*lock/.test(stderr)) throw volumeBusy(file.name);
  throw volumeUnwritable(file.name, stderr.trimEnd().split("\n").at(-1) ?? "");
}
