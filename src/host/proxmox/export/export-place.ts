import { createHash } from "node:crypto";
import { join } from "node:path";
import type { ProxmoxPlaces } from "../places.js";

/** An export, by what it shows. The fields of the bridge's requests. */
export interface ExportName {
  readonly storage: { readonly id: string };
  /** Its name on the base: `vm-100-disk-0`. */
  readonly volume: string;
  readonly snapshot?: string;
}

/** sockaddr_un has room for 108 bytes, the last of them zero. */
const SOCKET_PATH = 107;

/** Files of one export; nobody but root can enter their directories. */
export class ExportPlace {
  /** `local-luks:vm-100-disk-0@snap1`, for messages and locks. */
  readonly label: string;
  /** What shows the decrypted volume. It is there while a storage daemon serves it, or is being started or ended. */
  readonly image: string;
  /** The same file where it can be made and removed: empty, to be mounted over. */
  readonly mountpoint: string;
  /** Leads from beside the image to `pidFile`, also for whoever tells by it that the export is wanted. */
  readonly pidLink: string;
  /** Of the storage daemon. Its time of change is when the export was last asked for, or seen in use. */
  readonly pidFile: string;
  readonly socket: string;

  constructor(
    private readonly places: ProxmoxPlaces,
    readonly name: ExportName,
  ) {
    const { storage, volume, snapshot } = name;
    const file = snapshot === undefined ? volume : `${volume}@${snapshot}`;
    this.label = `${storage.id}:${file}`;
    this.image = join(places.exports, storage.id, `${file}.img`);
    this.mountpoint = join(places.exportsWritable, storage.id, `${file}.img`);
    this.pidLink = join(places.exportsWritable, storage.id, `${file}.pid`);
    this.pidFile = join(places.exportDaemons, storage.id, `${file}.pid`);
    this.socket = this.fittingSocket(join(places.exportDaemons, storage.id, `${file}.qmp`));
  }

  /** A name for systemd, whatever characters the storage and the volume have in theirs. */
  get unit(): string {
    // a scope that has just ended may still be known under its name
    return `luksmith-export-${this.digest}-${process.pid}.scope`;
  }

  /** The same text for whoever opens or closes it. */
  get lock(): string {
    return `export ${this.image}`;
  }

  private get digest(): string {
    return createHash("sha256").update(this.label).digest("hex").slice(0, 24);
  }

  /** No storage's ID begins with a digit, as this other name does. */
  private fittingSocket(path: string): string {
    if (Buffer.byteLength(path) <= SOCKET_PATH) return path;
    return join(this.places.exportDaemons, `0-${this.digest}.qmp`);
  }
}

/** What a file of an export is called after; undefined for any other file. */
export function exportOfFile(storage: string, file: string): ExportName | undefined {
  const [, volume, snapshot] = /^([^@]+?)(?:@([^@]+))?\.(?:img|pid)$/.exec(file) ?? [];
  if (volume === undefined) return undefined;
  return { storage: { id: storage }, volume, ...(snapshot === undefined ? {} : { snapshot }) };
}
