import { LuksmithError } from "../../error/luksmith-error.js";
import { printable } from "../../error/printable.js";
import { type KeyUuid, parseKeyUuid } from "../../keystore/key-uuid.js";
import { type MemoryFile, secretFile } from "../../secret/secret-file.js";
import type { Guest, HostSecret, ProvidedSecret } from "../host-adapter.js";
import { parseUsage } from "./secret-usage.js";
import { textFile } from "./text-file.js";
import type { Virsh, VirshAnswer, VirshCommand } from "./virsh.js";

/** A libvirt secret by UUID: ours, or undefined for a foreign one. */
type HostSecrets = ReadonlyMap<KeyUuid, ProvidedSecret | undefined>;

interface Wanted extends ProvidedSecret {
  readonly define: VirshCommand;
  readonly setValue: VirshCommand;
}

/** libvirt's secrets: ephemeral and private, told apart from foreign ones by their usage. */
export class LibvirtSecrets {
  constructor(private readonly virsh: Virsh) {}

  /** As HostAdapter has it. A foreign secret of the same UUID is used as it is. */
  async provide(guest: Pick<Guest, "id" | "name">, secrets: readonly HostSecret[]): Promise<void> {
    if (secrets.length === 0) return;
    // loaded here alone: its XML library takes nearly as long as starting Node, and most hooks provide nothing
    const { secretXml } = await import("./secret-xml.js");
    const files: MemoryFile[] = [];
    const keep = (file: MemoryFile): MemoryFile => {
      files.push(file);
      return file;
    };
    try {
      const wanted = secrets.map(({ uuid, disk, passphrase }): Wanted => ({
        uuid,
        disk,
        guestId: guest.id,
        define: [
          "secret-define",
          keep(textFile(secretXml({ uuid, guestId: guest.id, guestName: guest.name, disk }))),
        ],
        setValue: ["secret-set-value", uuid, "--file", keep(secretFile(passphrase)), "--plain"],
      }));
      await this.#provide(guest, wanted);
    } finally {
      for (const file of files) file[Symbol.dispose]();
    }
  }

  async #provide(guest: Pick<Guest, "name">, wanted: readonly Wanted[]): Promise<void> {
    const task = `provide the secrets of guest ${printable(guest.name)}`;
    try {
      const defined = await this.virsh.run(...wanted.map(({ define }) => define), ["secret-list"]);
      // values in a second process: in the first, virsh would go on to overwrite the value of a secret that is foreign
      const values = valueCommands(wanted, parseSecretList(defined.stdout));
      if (values === undefined) throw secretsFailed(task, defined);
      if (values.length === 0) return;
      const set = await this.virsh.run(...values);
      if (set.errors.length > 0) throw secretsFailed(task, set);
    } catch (thrown) {
      // a libvirtd that does not answer would not answer to this either; post-stop follows when it does
      if (!isUnavailable(thrown)) await this.#tryWithdraw(wanted.map(({ uuid }) => uuid));
      throw thrown;
    }
  }

  async provided(guestId?: string): Promise<ProvidedSecret[]> {
    const answer = await this.virsh.run(["secret-list"]);
    if (answer.errors.length > 0) throw secretsFailed("list the secrets of the host", answer);
    const ours = [...parseSecretList(answer.stdout).values()].filter((secret) => secret !== undefined);
    return guestId === undefined ? ours : ours.filter((secret) => secret.guestId === guestId);
  }

  /** Only secrets of ours; a foreign one stays. */
  async withdraw(uuids: readonly KeyUuid[]): Promise<void> {
    const there = await this.#ours(uuids);
    if (there.length === 0) return;
    const answer = await this.virsh.run(...there.map((uuid): VirshCommand => ["secret-undefine", uuid]));
    if (answer.errors.length === 0) return;
    // an error can mean that somebody else was faster: what counts is that none is left
    const left = await this.#ours(uuids);
    if (left.length > 0) throw secretsFailed(`withdraw host secret ${left.join(", ")}`, answer);
  }

  async #ours(uuids: readonly KeyUuid[]): Promise<KeyUuid[]> {
    if (uuids.length === 0) return [];
    return (await this.provided()).map(({ uuid }) => uuid).filter((uuid) => uuids.includes(uuid));
  }

  /** On the way out of a failure, whose error is the one to report. */
  async #tryWithdraw(uuids: readonly KeyUuid[]): Promise<void> {
    try {
      await this.withdraw(uuids);
    } catch (thrown) {
      if (!(thrown instanceof LuksmithError)) throw thrown;
    }
  }
}

function isUnavailable(thrown: unknown): boolean {
  return thrown instanceof LuksmithError && thrown.code === "HOST_UNAVAILABLE";
}

/** What gives `wanted` their values, now that `host` has these secrets; undefined if one of them could not be defined. */
function valueCommands(wanted: readonly Wanted[], host: HostSecrets): VirshCommand[] | undefined {
  const commands: VirshCommand[] = [];
  for (const { uuid, guestId, disk, define, setValue } of wanted) {
    if (!host.has(uuid)) return undefined;
    const secret = host.get(uuid);
    if (secret === undefined) continue;
    const stale = secret.guestId !== guestId || secret.disk !== disk;
    commands.push(...(stale ? [["secret-undefine", uuid], define] : []), setValue);
  }
  return commands;
}

/** `virsh secret-list` has UUID, type of usage and usage on each line; line breaks in it are escaped. */
function parseSecretList(stdout: string): HostSecrets {
  const secrets = new Map<KeyUuid, ProvidedSecret | undefined>();
  for (const line of stdout.split("\n")) {
    const [, text = "", usage = ""] = /^\s*([0-9a-f-]{36})\s+(?:volume\s+(.*\S))?/i.exec(line) ?? [];
    const uuid = parseKeyUuid(text);
    if (uuid === undefined) continue;
    const provided = parseUsage(usage);
    secrets.set(uuid, provided?.uuid === uuid ? provided : undefined);
  }
  return secrets;
}

function secretsFailed(task: string, { errors }: VirshAnswer): LuksmithError {
  return new LuksmithError("HOST_SECRET_FAILED", {
    what: `cannot ${task}`,
    why: errors.slice(0, 2).join(": ") || "libvirt did not keep them",
    hint: "see libvirt's log: journalctl -u libvirtd",
  });
}
