import { createHash } from "node:crypto";
import { join } from "node:path";
import { LuksmithError } from "../../error/luksmith-error.js";
import { type KeyUuid, parseKeyUuid } from "../../keystore/key-uuid.js";
import type { Guest, HostSecret, ProvidedSecret } from "../host-adapter.js";
import type { ProxmoxPlaces } from "./places.js";
import { filesIn, startNamed, withdrawSecrets, writeSecrets } from "./secrets.js";
import { isUnderWay, pidOf, type Start, startsIn } from "./starts.js";

type NamedGuest = Pick<Guest, "id" | "name">;

/**
 * Host secrets as files in memory, which QEMU reads while it starts. Those of a start that goes on in another process
 * are that process's: nobody else takes them away, whatever he was asked to.
 */
export class ProxmoxSecrets {
  /** @param start name of the start that this process works for */
  constructor(
    private readonly places: ProxmoxPlaces,
    private readonly start: string | undefined,
  ) {}

  /** As HostAdapter has it. */
  provide(guest: NamedGuest, secrets: readonly HostSecret[], others: "withdraw" | "keep" = "keep"): void {
    if (this.start === undefined) {
      throw new LuksmithError("HOST_SECRET_FAILED", {
        what: `cannot give guest ${guest.name} its passphrases`,
        why: "the storage plugin did not say for which start they are",
        hint: "if it is of another version: luksmith install --host proxmox",
      });
    }
    const start = startNamed(this.places, guest.id, this.start);
    writeSecrets(
      start,
      secrets.map(({ disk, passphrase }) => ({ file: disk, passphrase })),
    );
    if (others === "keep") return;
    for (const other of startsIn(this.places, guest.id))
      if (other.name !== this.start && !isUnderWay(other)) withdrawSecrets(other);
  }

  provided(guest?: NamedGuest): ProvidedSecret[] {
    return startsIn(this.places, guest?.id).flatMap((start) =>
      filesIn(start).map((disk) => {
        const path = join(start.path, disk);
        return { uuid: uuidFor(path), guestId: start.vmid, disk, path };
      }),
    );
  }

  /** Tries all, then throws the first error. */
  withdraw(guest: NamedGuest, uuids: readonly KeyUuid[]): void {
    const wanted = new Set(uuids);
    const failures: unknown[] = [];
    for (const start of startsIn(this.places, guest.id).filter((one) => this.#isFree(one))) {
      try {
        // by the key where whoever asks has provided it, by the file where he has found it
        const files = filesIn(start);
        const chosen = files.filter((disk) => wanted.has(uuidFor(join(start.path, disk))));
        withdrawSecrets(start, start.name === this.start && chosen.length === 0 ? files : chosen);
      } catch (thrown) {
        failures.push(thrown);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** What starts whose process is gone have left with guests that run: QEMU has read it long ago. */
  litter(isRunning: (vmid: string) => boolean): Start[] {
    return startsIn(this.places).filter(
      (start) => !isUnderWay(start) && (isRunning(start.vmid) || filesIn(start).length === 0),
    );
  }

  /** Of a process that is gone, of our own start, or of whoever started us: he waits until we have done it. */
  #isFree(start: Start): boolean {
    return start.name === this.start || pidOf(start) === process.ppid || !isUnderWay(start);
  }
}

/** RFC 9562, version 8: what the file is called by where a UUID is asked for. */
function uuidFor(path: string): KeyUuid {
  const digits = createHash("sha256").update(path).digest("hex");
  const uuid = parseKeyUuid(
    [
      digits.slice(0, 8),
      digits.slice(8, 12),
      `8${digits.slice(13, 16)}`,
      `8${digits.slice(17, 20)}`,
      digits.slice(20, 32),
    ].join("-"),
  );
  if (uuid === undefined) throw new Error("a hash has other digits");
  return uuid;
}
