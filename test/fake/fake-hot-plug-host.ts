import type { DiskMapping } from "../../src/disk-info/disk-info.js";
import type { ErrorCode } from "../../src/error/catalogue.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import {
  type Annotations,
  type ConfiguredGuest,
  type DiskAnnotation,
  type Guest,
  type GuestSummary,
  isMappingAnnotation,
  type NewDisk,
} from "../../src/host/host-adapter.js";
import { FakeHostAdapter } from "./fake-host-adapter.js";

type Call = "addDisk" | "removeDisk" | "annotate" | "unannotate" | "attachDisk" | "detachDisk";

/** A host manager in memory with one guest, whose disks come and go. */
export class FakeHotPlugHost extends FakeHostAdapter {
  readonly persistent = new Map<string, DiskMapping>();
  /** Undefined while the guest is shut off. */
  live: Map<string, DiskMapping> | undefined = new Map<string, DiskMapping>();
  readonly calls: string[] = [];
  /** What fails. */
  failing: Call | undefined;
  failure: ErrorCode = "HOST_UNAVAILABLE";
  /** What the running guest was given at each attach, as its QEMU would find it. */
  readonly given: string[] = [];
  #revision = 0;

  constructor(private readonly base: Guest) {
    super();
  }

  override listGuests(): Promise<GuestSummary[]> {
    const { id, name } = this.base;
    return Promise.resolve([{ id, name, running: this.live !== undefined }]);
  }

  override readGuest(): Promise<ConfiguredGuest> {
    const guest = this.#with(this.persistent);
    return Promise.resolve({ ...guest, running: this.live !== undefined, saved: false });
  }

  override readRunningGuest(): Promise<Guest> {
    return Promise.resolve(this.#with(this.live ?? this.persistent));
  }

  override addDisk(guest?: Guest, disk?: NewDisk): Promise<void> {
    return this.#change("addDisk", disk?.dev, () => {
      if (guest === undefined || disk === undefined) return;
      this.#requireUnchanged(guest);
      const { dev, volume, bus = "virtio" } = disk;
      this.persistent.set(dev, { bus, dev, type: "disk", encrypted: false, volume, readOnly: false });
    });
  }

  override removeDisk(_guest?: unknown, disk = ""): Promise<void> {
    return this.#change("removeDisk", disk, () => this.persistent.delete(disk));
  }

  override annotate(guest?: Guest, annotations: Annotations = new Map()): Promise<void> {
    return this.#change("annotate", [...annotations.keys()].join(), () => {
      if (guest !== undefined) this.#requireUnchanged(guest);
      for (const [dev, annotation] of annotations) this.persistent.set(dev, this.#annotated(dev, annotation));
    });
  }

  override unannotate(_guest?: unknown, annotations: Annotations = new Map()): Promise<void> {
    return this.#change("unannotate", [...annotations.keys()].join(), () => {
      for (const dev of annotations.keys()) {
        const { bus, type, volume, readOnly } = this.#diskOf(dev);
        this.persistent.set(dev, { bus, dev, type, encrypted: false, volume, readOnly });
      }
    });
  }

  override attachDisk(_guest?: unknown, dev = ""): Promise<void> {
    return this.#change("attachDisk", dev, () => {
      const disk = this.#diskOf(dev);
      const uuid = disk.encryption_secret_uuid;
      const isProvided = uuid !== undefined && this.passphrases.has(uuid);
      this.given.push(disk.mapping ?? (isProvided ? "a secret" : "nothing"));
      this.live?.set(dev, disk);
    });
  }

  override detachDisk(_guest?: unknown, dev = ""): Promise<void> {
    return this.#change("detachDisk", dev, () => this.live?.delete(dev));
  }

  #change(call: Call, dev: string | undefined, change: () => void): Promise<void> {
    if (this.failing === call) {
      const failure = { what: `${call} fails`, hint: "put this right" };
      return Promise.reject(new LuksmithError(this.failure, failure));
    }
    this.calls.push(`${call} ${dev ?? ""}`);
    return Promise.resolve().then(() => {
      change();
      if (call !== "attachDisk" && call !== "detachDisk") this.#revision++;
    });
  }

  #requireUnchanged({ configuration }: Guest): void {
    if (configuration !== String(this.#revision))
      throw new LuksmithError("GUEST_CHANGED", { what: "the configuration has changed meanwhile" });
  }

  #annotated(dev: string, annotation: DiskAnnotation): DiskMapping {
    const { format, secretUuid } = annotation;
    return {
      ...this.#diskOf(dev),
      ...{ encrypted: true, encryption_format: format, encryption_secret_uuid: secretUuid },
      ...(isMappingAnnotation(annotation) && { mapping: annotation.mapping }),
    };
  }

  #diskOf(dev: string): DiskMapping {
    const disk = this.persistent.get(dev);
    if (disk === undefined) throw new LuksmithError("DISK_NOT_FOUND", { what: `there is no disk ${dev}` });
    return disk;
  }

  #with(disks: ReadonlyMap<string, DiskMapping>): Guest {
    const mapping = Object.fromEntries(disks);
    return { ...this.base, disks: { ...this.base.disks, mapping }, configuration: String(this.#revision) };
  }
}
