import { LuksmithError } from "../../error/luksmith-error.js";
import { printable } from "../../error/printable.js";
import type { KeyUuid } from "../../keystore/key-uuid.js";
import { type MemoryFile, secretFile } from "../../secret/secret-file.js";
import type { VolumeLocks } from "../../storage/volume-lock.js";
import type { Guest, HostSecret, ProvidedSecret } from "../host-adapter.js";
import { type HostSecrets, needsOf, parseSecretList } from "./secret-list.js";
import { type SecretUsage, usageOf } from "./secret-usage.js";
import { textFile } from "./text-file.js";
import type { Virsh, VirshAnswer, VirshCommand } from "./virsh.js";

type NamedGuest = Pick<Guest, "id" | "name">;

interface Wanted {
  readonly usage: SecretUsage;
  readonly define: VirshCommand;
  readonly setValue: VirshCommand;
}

/** Of all guests that share a base: none is given its secret while another one's is taken away. */
const BASES = "host secrets of bases";

/** libvirt's secrets: ephemeral and private, told apart from foreign ones by their usage. */
export class LibvirtSecrets {
  constructor(
    private readonly virsh: Virsh,
    private readonly locks: VolumeLocks,
  ) {}

  /** As HostAdapter has it. A foreign secret of the same UUID is used as it is. */
  async provide(
    guest: NamedGuest,
    secrets: readonly HostSecret[],
    others: "withdraw" | "keep" = "keep",
  ): Promise<void> {
    if (secrets.length === 0) return;
    try {
      if (secrets.every(({ opens }) => opens === undefined)) await this.#provide(guest, secrets, others);
      else await this.locks.hold(BASES, () => this.#provide(guest, secrets, others), "shared");
    } catch (thrown) {
      // a libvirtd that does not answer would not answer to this either; post-stop follows when it does
      if (!isUnavailable(thrown)) await this.#tryWithdraw(guest, secrets);
      throw thrown;
    }
  }

  /** Of all secrets, of others too. */
  async uuids(): Promise<ReadonlySet<string>> {
    return new Set((await this.#list()).keys());
  }

  async provided(guestId?: string): Promise<ProvidedSecret[]> {
    const needs = needsOf(await this.#list());
    return guestId === undefined ? needs : needs.filter((need) => need.guestId === guestId);
  }

  /** Only secrets of ours that no other guest needs; a foreign one stays. */
  async withdraw(guest: NamedGuest, uuids: readonly KeyUuid[]): Promise<void> {
    if (uuids.length === 0) return;
    const host = await this.#list();
    if (!uuids.some((uuid) => isShared(host, uuid))) await this.#undefine(guest, uuids, host);
    else await this.locks.hold(BASES, async () => this.#undefine(guest, uuids, await this.#list()));
  }

  async #provide(
    guest: NamedGuest,
    secrets: readonly HostSecret[],
    others: "withdraw" | "keep",
  ): Promise<void> {
    // loaded here alone: its XML library takes nearly as long as starting Node, and most hooks provide nothing
    const { secretXml } = await import("./secret-xml.js");
    const files: MemoryFile[] = [];
    const keep = (file: MemoryFile): MemoryFile => {
      files.push(file);
      return file;
    };
    try {
      const wanted = onceEach(secrets).map((secret): Wanted => {
        const usage = usageFor(guest, secret, secrets);
        return {
          usage,
          define: ["secret-define", keep(textFile(secretXml({ ...usage, guestName: guest.name })))],
          setValue: [
            "secret-set-value",
            secret.uuid,
            "--file",
            keep(secretFile(secret.passphrase)),
            "--plain",
          ],
        };
      });
      await this.#define(guest, wanted, others);
    } finally {
      for (const file of files) file[Symbol.dispose]();
    }
  }

  async #define(guest: NamedGuest, wanted: readonly Wanted[], others: "withdraw" | "keep"): Promise<void> {
    const task = `provide the secrets of guest ${printable(guest.name)}`;
    const defined = await this.virsh.run(...wanted.map(({ define }) => define), ["secret-list"]);
    const host = parseSecretList(defined.stdout);
    // values in a second process: in the first, virsh would go on to overwrite the value of a secret that is foreign
    const values = valueCommands(wanted, host);
    if (values === undefined) throw secretsFailed(task, defined);
    const stale = others === "keep" ? [] : unwanted(guest, wanted, host);
    if (values.length === 0 && stale.length === 0) return;
    let set = await this.virsh.run(...stale, ...values);
    // one that is gone already is none of this start's business; every command can be given twice
    if (set.errors.length > 0 && stale.length > 0 && values.length > 0) set = await this.virsh.run(...values);
    if (set.errors.length > 0 && values.length > 0) throw secretsFailed(task, set);
  }

  async #undefine({ id }: NamedGuest, uuids: readonly KeyUuid[], host: HostSecrets): Promise<void> {
    const others = new Set(needsOf(host).flatMap(({ uuid, guestId }) => (guestId === id ? [] : [uuid])));
    const chosen = [...new Set(uuids)].filter((uuid) => !others.has(uuid));
    const isThere = (secrets: HostSecrets) => (uuid: KeyUuid) => secrets.get(uuid) !== undefined;
    const there = chosen.filter(isThere(host));
    if (there.length === 0) return;
    const answer = await this.virsh.run(...there.map((uuid): VirshCommand => ["secret-undefine", uuid]));
    if (answer.errors.length === 0) return;
    // an error can mean that somebody else was faster: what counts is that none is left
    const left = chosen.filter(isThere(await this.#list()));
    if (left.length > 0) throw secretsFailed(`withdraw host secret ${left.join(", ")}`, answer);
  }

  async #list(): Promise<HostSecrets> {
    const answer = await this.virsh.run(["secret-list"]);
    if (answer.errors.length > 0) throw secretsFailed("list the secrets of the host", answer);
    return parseSecretList(answer.stdout);
  }

  /** On the way out of a failure, whose error is the one to report. */
  async #tryWithdraw(guest: NamedGuest, secrets: readonly HostSecret[]): Promise<void> {
    try {
      await this.withdraw(
        guest,
        secrets.map(({ uuid }) => uuid),
      );
    } catch (thrown) {
      if (!(thrown instanceof LuksmithError)) throw thrown;
    }
  }
}

function isUnavailable(thrown: unknown): boolean {
  return thrown instanceof LuksmithError && thrown.code === "HOST_UNAVAILABLE";
}

/** One of each UUID: several disks of a guest may lie over one base, or one of them be another's base. */
function onceEach(secrets: readonly HostSecret[]): HostSecret[] {
  const ownLast = secrets.toSorted((a, b) => Number(a.opens === undefined) - Number(b.opens === undefined));
  return [...new Map(ownLast.map((secret) => [secret.uuid, secret])).values()];
}

function usageFor(
  { id }: NamedGuest,
  { uuid, disk, opens }: HostSecret,
  secrets: readonly HostSecret[],
): SecretUsage {
  if (opens === "base") return { uuid, disk, guestId: id, opens, over: [] };
  const under = secrets.filter((other) => other.opens === "base" && other.disk === disk);
  return { uuid, disk, guestId: id, opens: "disk", over: under.map((base) => base.uuid) };
}

/** What gives `wanted` their values, now that `host` has these secrets; undefined if one of them could not be defined. */
function valueCommands(wanted: readonly Wanted[], host: HostSecrets): VirshCommand[] | undefined {
  const commands: VirshCommand[] = [];
  for (const { usage, define, setValue } of wanted) {
    const { uuid } = usage;
    if (!host.has(uuid)) return undefined;
    const found = host.get(uuid);
    if (found === undefined) continue;
    // a shared secret keeps its usage: without it for a moment, another guest's start would fail
    const stale = usageOf(found) !== usageOf(usage) && usage.opens === "disk" && !isShared(host, uuid);
    commands.push(...(stale ? [["secret-undefine", uuid], define] : []), setValue);
  }
  return commands;
}

/** Takes away what the guest has of earlier starts; what it may share with others stays for their sake. */
function unwanted({ id }: NamedGuest, wanted: readonly Wanted[], host: HostSecrets): VirshCommand[] {
  const kept = new Set(wanted.map(({ usage }) => usage.uuid));
  return [...host.values()]
    .filter((secret) => secret !== undefined)
    .filter(({ uuid, guestId, opens }) => guestId === id && opens === "disk" && !kept.has(uuid))
    .filter(({ uuid }) => !isShared(host, uuid))
    .map(({ uuid }): VirshCommand => ["secret-undefine", uuid]);
}

/** Whether more than one guest may need the secret. */
function isShared(host: HostSecrets, uuid: KeyUuid): boolean {
  return host.get(uuid)?.opens === "base" || needsOf(host).filter((need) => need.uuid === uuid).length > 1;
}

function secretsFailed(task: string, { errors }: VirshAnswer): LuksmithError {
  return new LuksmithError("HOST_SECRET_FAILED", {
    what: `cannot ${task}`,
    why: errors.slice(0, 2).join(": ") || "libvirt did not keep them",
    hint: "see libvirt's log: journalctl -u libvirtd",
  });
}
