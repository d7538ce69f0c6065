import { existsSync } from "node:fs";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { Command, CommandRunner } from "../../exec/command-runner.js";
import type { Extent } from "../allocation-map.js";
import type { QemuNode } from "../storage-backend.js";
import { type RbdVolume, volumeName } from "../volume.js";
import { volumeAbsent, volumeUnreadable } from "../volume-error.js";

/** Where the cluster is and who we are there, for volumes that do not say it themselves. */
export interface RbdAccess {
  /** The cephx user, without `client.`. */
  readonly user: string;
  /** Absolute path of ceph.conf. */
  readonly conf: string;
}

/** What we read of `rbd info --format=json`. */
export interface RbdInfo {
  /** Another image under the same name has another one. */
  readonly id: string;
  readonly size: number;
  readonly snapshot_count: number;
  /** Where it is a clone. */
  readonly parent?: object;
}

/**
 * For all Ceph clients, in seconds: for joining the cluster, and for each operation. Without it, a monitor that does
 * not answer keeps its clients waiting for 5 minutes, and an OSD for ever. They end by themselves, since Ceph takes a
 * client that was killed for alive for 30 s more.
 */
export const PATIENCE = 10;
/** Milliseconds: a client also waits for its predecessor's death to be certain. */
const TIMEOUT = 60_000;
/** rbd's exit codes are error numbers. ENOENT: no such image, namespace or pool; also a keyring that is not there. */
const ABSENT = 2;
const ABSENCE = /error opening (image|pool) .*\(2\) No such file|^rbd: namespace .* does not exist/m;
const REFUSED = 13;
/** EEXIST */
const PRESENT = 17;
const TIMED_OUT = 110;

/** One RBD image as the rbd program and QEMU are told about it. Each call opens the image anew. */
export class RbdClient {
  readonly name: string;
  /** For every command that joins the cluster, also a QEMU tool: how long it may take. */
  readonly limits: Required<Pick<Command, "env" | "timeout">>;

  constructor(
    private readonly runner: CommandRunner,
    private readonly volume: RbdVolume,
    private readonly access: RbdAccess,
    patience = PATIENCE,
  ) {
    this.name = volumeName(volume);
    const env = { CEPH_ARGS: `--client_mount_timeout=${patience} --rados_osd_op_timeout=${patience}` };
    this.limits = { env, timeout: TIMEOUT };
  }

  /** @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE */
  async info(): Promise<RbdInfo> {
    const { id, size, snapshot_count, parent } = parse(await this.ask("info")) as Partial<RbdInfo>;
    if (typeof id !== "string" || typeof size !== "number" || typeof snapshot_count !== "number")
      throw volumeUnreadable(this.name, "rbd gave no description of the image that can be understood");
    return { id, size, snapshot_count, ...(parent && { parent }) };
  }

  /** Addresses of the clients that have the image open. @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE */
  async watchers(): Promise<string[]> {
    const { watchers } = parse(await this.ask("status")) as { watchers?: { address: string }[] };
    if (!Array.isArray(watchers))
      throw volumeUnreadable(this.name, "rbd did not tell who has the image open");
    return watchers.map(({ address }) => address);
  }

  /** The names of the locks that somebody took by hand: those that clients take by themselves come and go. */
  async locks(): Promise<string[]> {
    const locks = parse(await this.ask("lock", "ls")) as { id: string }[];
    if (!Array.isArray(locks))
      throw volumeUnreadable(this.name, "rbd did not tell whether the image is locked");
    return locks.map(({ id }) => id).filter((id) => !id.startsWith("auto "));
  }

  /** Names of all images of the pool or namespace, whatever the volume's image is called. @throws VOLUME_UNREADABLE */
  async list(): Promise<string[]> {
    const names = parse(await this.ask("ls"));
    if (!Array.isArray(names)) throw volumeUnreadable(this.name, "rbd did not list the images");
    return names as string[];
  }

  /** Within the pool and namespace; replaces none. @throws TOOL_FAILED, TOOL_TIMEOUT */
  async rename(to: string): Promise<void> {
    const { pool, namespace } = this.volume;
    const target = [
      `--dest-pool=${pool}`,
      ...(namespace === undefined ? [] : [`--dest-namespace=${namespace}`]),
    ];
    await this.run("rename", ...target, `--dest=${to}`);
  }

  /** Runs another command of the rbd program. @throws TOOL_FAILED, TOOL_TIMEOUT */
  async run(...command: readonly string[]): Promise<void> {
    await this.runner.run({ tool: "rbd", args: [...command, ...this.arguments()], ...this.limits });
  }

  /** As `run`, for what takes as long as the image is large. */
  async runLong(...command: readonly string[]): Promise<void> {
    const { env } = this.limits;
    await this.runner.run({ tool: "rbd", args: [...command, ...this.arguments()], env, timeout: 0 });
  }

  /** Of the image. @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE */
  async snapshots(): Promise<{ readonly name: string; readonly isProtected: boolean }[]> {
    const rows = parse(await this.ask("snap", "ls")) as { name: string; protected: unknown }[];
    if (!Array.isArray(rows)) throw volumeUnreadable(this.name, "rbd did not list its snapshots");
    // as text, or as a truth value, by the version
    return rows.map((row) => ({ name: row.name, isProtected: String(row.protected) === "true" }));
  }

  /** @returns whether it was made: not where there is such an image already @throws TOOL_FAILED, TOOL_TIMEOUT */
  async create(bytes: bigint): Promise<boolean> {
    const args = ["create", `--size=${bytes}B`, ...this.arguments()];
    const { exitCode } = await this.runner.run({
      tool: "rbd",
      args,
      ...this.limits,
      answers: [PRESENT],
    });
    return exitCode !== PRESENT;
  }

  /** The image's bytes, as QEMU opens them: raw and neither read nor decrypted. */
  node(): QemuNode {
    const { pool, namespace, image, snapshot, monitors = [] } = this.volume;
    const server = monitors.map((monitor) => {
      const [, host = monitor, port = "6789"] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(monitor) ?? [];
      return { host, port };
    });
    return {
      driver: "rbd",
      pool,
      ...(namespace === undefined ? {} : { namespace }),
      image,
      ...(snapshot === undefined ? {} : { snapshot }),
      user: this.user(),
      ...this.conf().map((conf) => ({ conf }))[0],
      ...(server.length === 0 ? {} : { server }),
    };
  }

  /** What may be other than zero, by the objects that there are; that of its parent too, for a clone. */
  async extents(): Promise<Extent[]> {
    const objects = parse(await this.ask("diff", "--whole-object")) as Extent[];
    if (!Array.isArray(objects)) throw volumeUnreadable(this.name, "rbd did not tell what is allocated");
    return objects.map(({ offset, length }) => ({ offset, length }));
  }

  private async ask(...command: readonly string[]): Promise<string> {
    const args = [...command, "--format=json", ...this.arguments()];
    const { exitCode, stdout, stderr } = await this.runner
      .run({ tool: "rbd", args, ...this.limits, answers: [ABSENT, REFUSED, TIMED_OUT] })
      .catch((thrown: unknown) => {
        if (!(thrown instanceof LuksmithError) || thrown.code === "TOOL_MISSING") throw thrown;
        throw volumeUnreadable(this.name, reasonIn(thrown.why ?? thrown.message));
      });
    if (exitCode === 0) return stdout;
    // in any line: librbd's thread for log lines may write one after rbd's own last word
    if (exitCode === ABSENT && ABSENCE.test(stderr)) throw volumeAbsent(this.name);
    throw volumeUnreadable(this.name, `${reasonIn(stderr)}${this.meaning(exitCode)}`);
  }

  /** What rbd's last line does not say, or only if it is not cut off by another one. */
  private meaning(exitCode: number): string {
    switch (exitCode) {
      case REFUSED:
        return ` (the cluster does not let in the user ${this.user()}: see its key, its keyring and ceph.conf)`;
      case TIMED_OUT:
        return " (the cluster did not answer in time)";
      default:
        return "";
    }
  }

  private arguments(): string[] {
    const { pool, namespace, image, snapshot, monitors } = this.volume;
    return [
      ...this.conf().map((conf) => `--conf=${conf}`),
      `--id=${this.user()}`,
      ...(monitors === undefined ? [] : [`--mon-host=${monitors.join(",")}`]),
      `--pool=${pool}`,
      ...(namespace === undefined ? [] : [`--namespace=${namespace}`]),
      // none where the pool is meant
      ...(image === "" ? [] : [`--image=${image}`]),
      ...(snapshot === undefined ? [] : [`--snap=${snapshot}`]),
    ];
  }

  private user(): string {
    return this.volume.user ?? this.access.user;
  }

  /** None where the volume names its monitors and this host has no ceph.conf. */
  private conf(): string[] {
    const { conf, monitors } = this.volume;
    if (conf !== undefined) return [conf];
    return monitors === undefined || existsSync(this.access.conf) ? [this.access.conf] : [];
  }
}

/** The last line of what a Ceph client says, without the time and the thread that its log lines begin with. */
export function reasonIn(text: string): string {
  const last = text.trimEnd().split("\n").at(-1) ?? "";
  const reason = last.replace(/^\d{4}-\d\d-\d\dT\S+ [0-9a-f]+ +-?\d+ +/, "").trim();
  return reason.endsWith("Unknown driver 'rbd'") ? `${reason}: apt-get install qemu-block-extra` : reason;
}

/** An object without what is looked for, for a text that is no JSON. */
function parse(json: string): object {
  try {
    return Object(JSON.parse(json)) as object;
  } catch {
    return {};
  }
}
