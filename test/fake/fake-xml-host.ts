import { annotateDomain, plainDomain, unannotateDomain } from "../../src/guest-config/annotations.js";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import type {
  Annotations,
  ConfiguredGuest,
  DiskAnnotation,
  Guest,
  GuestSummary,
} from "../../src/host/host-adapter.js";
import type { PathVolume } from "../../src/storage/volume.js";
import { FakeHostAdapter } from "./fake-host-adapter.js";

export const GUEST_ID = "11111111-2222-4333-8444-555555555555";

/** A host manager in memory whose one guest has a real domain XML; it is shut off until a test says otherwise. */
export class FakeXmlHost extends FakeHostAdapter {
  running = false;
  /** What the guest that runs was started with; undefined for what is configured now. */
  live: string | undefined;
  xml: string;

  constructor({ path, format }: PathVolume) {
    super();
    this.xml = `<domain type='kvm'>
  <name>web1</name>
  <uuid>${GUEST_ID}</uuid>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='${format}'/>
      <source file='${path}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
  </devices>
</domain>
`;
  }

  override listGuests(): Promise<GuestSummary[]> {
    return Promise.resolve([{ id: GUEST_ID, name: "web1", running: this.running }]);
  }

  override readGuest(): Promise<ConfiguredGuest> {
    return Promise.resolve({ ...guestFromDomainXml(this.xml), running: this.running, saved: false });
  }

  override readRunningGuest(): Promise<Guest> {
    return Promise.resolve(guestFromDomainXml(this.live ?? this.xml));
  }

  override annotate(...[guest, added, removed]: [Guest?, Annotations?, Annotations?]): Promise<void> {
    if (guest?.configuration !== this.xml || added === undefined) throw new Error("it was changed");
    this.xml = annotateDomain(this.xml, added, removed);
    return Promise.resolve();
  }

  override unannotate(...[, removed]: [Guest?, Annotations?]): Promise<void> {
    if (removed === undefined) throw new Error("nothing is taken out");
    this.xml = unannotateDomain(this.xml, removed);
    return Promise.resolve();
  }

  nameVolume(_: Guest, disk: string, annotation: DiskAnnotation, volume: PathVolume): Promise<void> {
    this.xml = plainDomain(this.xml, disk, annotation, volume);
    return Promise.resolve();
  }
}
