import { execFileSync } from "node:child_process";

/** What a device that others made, a logical volume or a part of one, is to device-mapper. */
export class DmTable {
  readonly name: string;

  /** `device`: its path, or its name in device-mapper. */
  constructor(device: string) {
    this.name = infoOf(device, "name");
  }

  get isOpen(): boolean {
    return infoOf(this.name, "open") !== "0";
  }

  get lines(): string[] {
    return dmsetup("table", this.name).trim().split("\n");
  }

  get status(): string {
    return dmsetup("status", "--noflush", this.name).trim();
  }

  /** A device that is the same as this one now, as LVM makes one below a volume. @returns its path */
  addLayer(layer: string): string {
    const uuid = `${infoOf(this.name, "uuid")}-${layer}`;
    const name = `${this.name}-${layer}`;
    dmsetup("create", "--verifyudev", name, "--uuid", uuid, "--table", this.lines.join("\n"));
    return `/dev/mapper/${name}`;
  }

  /** Changes each line of its table under whoever has it open, until it is disposed of for the first time. */
  become(change: (line: string) => string): AsyncDisposable {
    const before = this.lines;
    this.#load(before.map(change));
    let isChanged = true;
    return {
      [Symbol.asyncDispose]: () => {
        if (isChanged) this.#load(before);
        isChanged = false;
        return Promise.resolve();
      },
    };
  }

  #load(lines: readonly string[]): void {
    dmsetup("load", this.name, "--table", lines.join("\n"));
    dmsetup("suspend", "--nolockfs", "--noflush", this.name);
    dmsetup("resume", this.name);
  }
}

function infoOf(device: string, column: string): string {
  return dmsetup("info", "-c", "--noheadings", "-o", column, device).trim();
}

function dmsetup(...args: readonly string[]): string {
  return execFileSync("dmsetup", args, { encoding: "utf8", stdio: "pipe" });
}
