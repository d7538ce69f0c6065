import { existsSync } from "node:fs";
import { LuksmithError } from "../../error/luksmith-error.js";
import { startDetached } from "../../exec/detached.js";
import type { Guest } from "../host-adapter.js";
import { daemonIsStarting } from "./daemon.js";

/** libvirtd serves other guests' autostart only when this one's hooks, before the start and after it, have ended. */
const PATIENCE = 2_000;

/**
 * libvirtd starts the guests that are marked for autostart while it initializes, before it answers any client: their
 * hook cannot hand over passphrases then, however long it waits. So it waits for a moment only, refuses, and leaves a
 * virsh behind that starts the guest as soon as libvirtd answers.
 */
export class Autostart {
  constructor(
    private readonly uri: string,
    private readonly directory = "/etc/libvirt/qemu/autostart",
    private readonly start = startDetached,
  ) {}

  /** Milliseconds that a call about the guest may wait for libvirtd; undefined for as long as any other. */
  patience(guest: Pick<Guest, "name">): number | undefined {
    return this.#mayBeUnderWay(guest) ? PATIENCE : undefined;
  }

  /** What to report instead of `thrown`, if this was such a start; it is tried again later. */
  retryLater(guest: Pick<Guest, "id" | "name">, thrown: unknown): LuksmithError | undefined {
    if (!(thrown instanceof LuksmithError) || thrown.code !== "HOST_UNAVAILABLE") return undefined;
    if (!this.#mayBeUnderWay(guest)) return undefined;
    const { id, name } = guest;
    this.start("virsh", ["-q", "-c", this.uri, "start", id]);
    return new LuksmithError("HOST_UNAVAILABLE", {
      what: `cannot start guest ${name} yet: libvirt is starting itself and takes no passphrases`,
      why: "it starts guests that are marked for autostart before it answers anybody",
      hint: "luksmith starts the guest as soon as libvirt answers; there is nothing to do",
      cause: thrown,
    });
  }

  #mayBeUnderWay({ name }: Pick<Guest, "name">): boolean {
    return daemonIsStarting("/") && existsSync(`${this.directory}/${name}.xml`);
  }
}
