import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";

/** What a device does with its sectors, as device-mapper's tables say it. Sizes and offsets are in bytes. */
export type Target =
  | { readonly kind: "linear"; readonly size: number; readonly device: string; readonly offset?: number }
  /** Every read and write fails with EIO. */
  | { readonly kind: "error"; readonly size: number }
  /** Reads zeros, and forgets what is written. */
  | { readonly kind: "zero"; readonly size: number }
  /** Milliseconds before a read, and before a write or a flush. */
  | {
      readonly kind: "delay";
      readonly size: number;
      readonly device: string;
      readonly read: number;
      readonly write: number;
    }
  /** Sound for `up` seconds, then for `down` seconds as `features` say: EIO without any. */
  | {
      readonly kind: "flakey";
      readonly size: number;
      readonly device: string;
      readonly offset?: number;
      readonly up: number;
      readonly down: number;
      /** "drop_writes", "error_writes" or "corrupt_bio_byte N r|w VALUE FLAGS" */
      readonly features?: readonly string[];
    };

/** A device of device-mapper, whose table a test may change under whoever has it open. Its name is its own. */
export class DmDevice implements Disposable {
  readonly name = `luksmith${randomBytes(4).toString("hex")}`;
  readonly path = `/dev/mapper/${this.name}`;

  /** The targets follow each other: the device is as large as they are together. */
  constructor(...targets: readonly Target[]) {
    dmsetup(["create", this.name], tableOf(targets));
  }

  /** Reads and writes wait until `resume`; those under way are finished first unless `noflush` says otherwise. */
  suspend(how: "flush" | "noflush" = "flush"): void {
    dmsetup(["suspend", "--nolockfs", ...(how === "flush" ? [] : ["--noflush"]), this.name]);
  }

  /** The table that the next `resume` puts in place. */
  load(...targets: readonly Target[]): void {
    dmsetup(["load", this.name], tableOf(targets));
  }

  resume(): void {
    dmsetup(["resume", this.name]);
  }

  /** Another table at once, while the device stays open where it is. */
  become(...targets: readonly Target[]): void {
    this.load(...targets);
    // resume alone would swap the tables as well, and flush what a failing device never finishes
    this.suspend("noflush");
    this.resume();
  }

  /** Every read and write fails from now on. @throws if it is still open after some seconds */
  [Symbol.dispose](): void {
    dmsetup(["remove", "--force", "--retry", this.name]);
  }
}

/** Removes every device whose name begins with `prefix`, those on top first. @throws if one is still open */
export function removeDevices(prefix: string): void {
  for (let names = devicesNamed(prefix, "open=0"); names.length > 0; names = devicesNamed(prefix, "open=0")) {
    dmsetup(["remove", "--force", ...names]);
  }
  const open = devicesNamed(prefix, "open>0");
  if (open.length > 0) throw new Error(`still open: ${open.join(", ")}`);
}

function devicesNamed(prefix: string, condition: string): string[] {
  const columns = ["-c", "--noheadings", "-o", "name", "--select", condition];
  return dmsetup(["info", ...columns])
    .split("\n")
    .filter((name) => name.startsWith(prefix));
}

function tableOf(targets: readonly Target[]): string {
  let start = 0;
  return targets
    .map((target) => {
      const line = `${start} ${target.size / 512} ${parametersOf(target)}\n`;
      start += target.size / 512;
      return line;
    })
    .join("");
}

function parametersOf(target: Target): string {
  switch (target.kind) {
    case "error":
    case "zero":
      return target.kind;
    case "linear":
      return `linear ${target.device} ${(target.offset ?? 0) / 512}`;
    case "delay":
      return `delay ${target.device} 0 ${target.read} ${target.device} 0 ${target.write}`;
    case "flakey": {
      const { device, offset = 0, up, down, features = [] } = target;
      const words = features.join(" ").split(" ").filter(Boolean);
      return [
        "flakey",
        device,
        offset / 512,
        up,
        down,
        ...(words.length === 0 ? [] : [words.length, ...words]),
      ].join(" ");
    }
  }
}

function dmsetup(args: readonly string[], input = ""): string {
  // there is no udev: so it makes and removes the device's node itself
  return execFileSync("dmsetup", ["--verifyudev", ...args], { encoding: "utf8", input, stdio: "pipe" });
}
