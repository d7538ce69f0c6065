import type { QemuNode, StorageBackend } from "../../src/storage/storage-backend.js";
import type { StorageSettings } from "../../src/storage/index.js";
import type { Volume } from "../../src/storage/volume.js";
import type { RecordingCommandRunner } from "../fake/recording-command-runner.js";

type Awaitable<T> = T | Promise<T>;

/** A place for the volumes of one test, of one storage backend. What is made in it is removed with it. */
export interface StorageFixture extends AsyncDisposable {
  readonly backend: StorageBackend;
  readonly runner: RecordingCommandRunner;
  /** Where the backends of this fixture keep their locks, and the settings that they have. */
  readonly lockDirectory: string;
  readonly settings: StorageSettings;
  /** Another instance on the same volumes, as another process has it. */
  another(): StorageBackend;

  /** Names that are odd and that this storage allows. */
  readonly hostileNames: readonly string[];
  /** Bytes that the storage allocates at once: sizes are rounded up to it. */
  readonly extent: number;
  /** What the depth `allocation-map` answers for a volume that was never written. */
  readonly unwritten: "empty" | "allocated";
  /** The contract kills formatting before its first step and every so many after it: 1 is each of them. */
  readonly killStride: number;
  /** Where volumes are allocated, if the storage has a choice. */
  readonly pool?: string;

  /** A volume of `size` bytes (qcow2: that a guest sees) that holds nothing. */
  makeEmpty(name: string, size: number): Awaitable<Volume>;
  /** A volume of this storage that is not there. */
  absent(): Volume;
  /** How QEMU opens a volume that is not encrypted. */
  plainNode(volume: Volume): QemuNode;
  /** Writes 512 bytes that are not zero at `offset` of a volume that is not encrypted. */
  writeData(volume: Volume, offset: number, locking: "on" | "off"): Awaitable<void>;
  /** All bytes of the volume as the storage has them. */
  bytes(volume: Volume): Awaitable<Buffer>;
  /** Everything that a mistake could change: which volumes there are, their bytes, whether they are active. */
  state(): Awaitable<unknown>;
  /** The volume goes away, whoever uses it. */
  remove(volume: Volume): Awaitable<void>;
  /** The volume's name leads to another one from now on, which is empty and has 8 MiB. */
  replace(volume: Volume): Awaitable<void>;
  /** Makes room in the volume for a guest of `guestSize` bytes, where only its administrator can. */
  enlarge(volume: Volume, guestSize: bigint): Awaitable<void>;
  /** From now on reading, or writing, the volume fails; until it is disposed of for the first time. */
  breakReading(volume: Volume): Awaitable<AsyncDisposable>;
  breakWriting(volume: Volume): Awaitable<AsyncDisposable>;
}
