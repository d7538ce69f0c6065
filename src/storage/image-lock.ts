import type { CommandRunner } from "../exec/command-runner.js";
import { volumeBusy, volumeUnwritable } from "./volume-error.js";
import type { VolumeFile } from "./volume-file.js";

/** Keeps others from writing to a volume until it is disposed of, or until this process ends. */
export interface ImageLock extends AsyncDisposable {
  /**
   * For the moment before a write.
   * @throws VOLUME_WRITE_FAILED if somebody killed the process that holds the lock; VOLUME_BUSY if somebody got past it
   */
  assertHeld(): Promise<void>;
}

/**
 * Takes QEMU's image lock (QEMU >= 5.0; also against other hosts of a shared file system that has locks): a qemu-io
 * process opens the file for writing and shares neither writing nor resizing. So it fails where a guest, a block job
 * or a tool of QEMU has the file open for writing, be it shared (share-rw), and none can open it for writing later.
 * blkdebug is the driver that lets one choose what is shared, and passes everything on; the file is opened without a
 * format, so that nothing in it is read or mended. Our own descriptors, and qemu-img with -U, heed no such lock.
 * @param volumeLock is inherited by the process: after our death, nobody gets that lock while this one is still held
 * @throws VOLUME_BUSY, VOLUME_WRITE_FAILED
 */
export async function lockImage(
  runner: CommandRunner,
  file: VolumeFile,
  volumeLock: number,
): Promise<ImageLock> {
  const holder = await runner.hold({
    tool: "qemu-io",
    args: ["--image-opts", imageOptions(file.stats.isBlockDevice() ? "host_device" : "file")],
    fds: [file.fd, volumeLock],
    // it could not open the file: the text says whether a lock is why
    answers: [1],
  });
  switch (holder.kind) {
    case "held":
      return {
        async assertHeld() {
          await Promise.resolve();
          if (!holder.isRunning)
            throw volumeUnwritable(file.name, "qemu-io, which kept it locked, has ended");
        },
        [Symbol.asyncDispose]: () => holder[Symbol.asyncDispose](),
      };
    case "ended": {
      const { stderr } = holder;
      if (/Failed to get .*lock/.test(stderr)) throw volumeBusy(file.name);
      throw volumeUnwritable(file.name, stderr.trimEnd().split("\n").at(-1) ?? "");
    }
  }
}

function imageOptions(driver: "file" | "host_device"): string {
  return [
    ...["driver=blkdebug", `image.driver=${driver}`, "image.filename=/proc/self/fd/3"],
    // Proxmox VE's QEMU takes no locks unless it is told to
    "image.locking=on",
    ...["unshare-child-perms.0=write", "unshare-child-perms.1=resize"],
  ].join(",");
}
