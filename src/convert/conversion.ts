import type { Container } from "../di.js";
import type { DiskMapping } from "../disk-info/disk-info.js";
import type { EngineChoice } from "../encryption/encryption-providers.js";
import type { ConfiguredGuest } from "../host/host-adapter.js";
import type { EncryptionRequest } from "../request/ask.js";
import type { Plan } from "../plan/step.js";
import type { Watcher } from "./watcher.js";
import type { ConvertTarget } from "./gather-convert.js";

/** What a conversion makes of a disk's volume, whatever it is now. */
export type ConversionGoal =
  /** LUKS, under a key of its own: from plain, from plain dm-crypt, or from LUKS under another volume key. */
  | { readonly to: "encrypted"; readonly request: EncryptionRequest; readonly engine: EngineChoice }
  | { readonly to: "plain" };

/** A disk to be converted; whoever asks holds the guest's lock. */
export interface ConversionTask {
  readonly guest: ConfiguredGuest;
  readonly disk: DiskMapping;
  readonly goal: ConversionGoal;
  /** Where the new volume is to lie; undefined for a conversion in place. */
  readonly target: ConvertTarget | undefined;
  /** Bytes a second at most. */
  readonly rate?: bigint;
  readonly manner: "apply" | "dry-run";
  readonly watcher: Watcher;
}

/**
 * One way to convert a disk. Killed at any instruction, a further call with the same task goes on. Resolves to what was
 * done, for the log.
 */
export type Conversion = (container: Container, task: ConversionTask) => Promise<Plan>;
