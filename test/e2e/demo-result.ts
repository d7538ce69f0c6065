export interface DemoDisk {
  readonly device: string;
  readonly backend: string;
  readonly format: string;
  readonly luksVersion: number;
  readonly luksUuid: string;
  readonly secretUuid: string;
  /** Whether the guest's marker stands readable on the volume. */
  readonly plaintextFound: boolean;
}

export interface DemoResult {
  /** Lifecycle events in the order in which libvirtd fired them. */
  readonly events: readonly string[];
  readonly disks: readonly DemoDisk[];
  /** The guest, booted from its encrypted disk, wrote the marker to the other one and read it back. */
  readonly guestMarkerReadBack: boolean;
  /** cryptsetup, which knows nothing of QEMU and of us, opens the raw volume with the stored passphrase. */
  readonly independentReader: boolean;
  readonly distinctPassphrases: boolean;
  /** Host secrets after the guest has stopped. */
  readonly secretsLeft: number;
  /** /dev/mapper entries that were not there before. */
  readonly mappingsLeft: number;
}

export function demoOk(result: DemoResult): boolean {
  const { disks, events } = result;
  const distinct = (values: readonly string[]) => new Set(values).size === values.length;
  return (
    events.join() === "pre-start,post-stop,pre-start,post-stop" &&
    disks.length === 2 &&
    disks.every(
      (disk) => disk.luksVersion === 1 && !disk.plaintextFound && disk.luksUuid === disk.secretUuid,
    ) &&
    distinct(disks.map((disk) => disk.luksUuid)) &&
    result.distinctPassphrases &&
    result.guestMarkerReadBack &&
    result.independentReader &&
    result.secretsLeft === 0 &&
    result.mappingsLeft === 0
  );
}
