import type { CommandRunner } from "../../src/exec/command-runner.js";
import type { HeaderVault } from "../../src/headers/header-vault.js";
import type { HostAdapter } from "../../src/host/host-adapter.js";
import type { KeyDeleter, Keystore } from "../../src/keystore/keystore.js";
import type { EscrowFiles } from "../../src/recovery/escrow-files.js";
import { StorageRegistry } from "../../src/storage/index.js";
import { VolumeFile } from "../../src/storage/volume-file.js";
import { type Death, FakeFailingKeystore } from "../fake/failing-keystore.js";
import { Killer } from "../recovery/killer.js";

/** How a command ends before its time. */
export type End =
  | { readonly kind: "killed"; readonly at: number }
  | { readonly kind: "keystore gone"; readonly death: Death };

/** One command's process: whole, killed at an effect, or with a keystore that dies. */
export class Life {
  readonly #killer: Killer;
  #keystore: FakeFailingKeystore | undefined;

  constructor(private readonly end?: End) {
    this.#killer = new Killer(end?.kind === "killed" ? end.at : Infinity);
  }

  /** Whether it was killed. */
  get isOver(): boolean {
    return this.end?.kind === "killed" && this.#killer.effects >= this.end.at;
  }

  /** Whether what failed may have failed for this. */
  get wasCut(): boolean {
    const { end } = this;
    if (end?.kind === "keystore gone") return (this.#keystore?.calls ?? 0) >= end.death.call;
    return this.isOver;
  }

  keystore(real: Keystore & KeyDeleter): Keystore & KeyDeleter {
    if (this.end?.kind !== "keystore gone")
      return this.#killer.wrap(real, ["store", "change", "update", "replace", "delete"]);
    // of one process, however often it asks for it
    return (this.#keystore ??= new FakeFailingKeystore(real, this.end.death));
  }

  vault<V extends HeaderVault>(real: V): V {
    return this.#killer.wrap(real, ["keep", "setAside", "destroy"]);
  }

  files(real: EscrowFiles): EscrowFiles {
    return this.#killer.wrap(real, ["begin", "finish", "forget"]);
  }

  host<H extends HostAdapter>(real: H): H {
    return this.#killer.wrap(real, ["annotate", "unannotate", "nameVolume"] as (keyof H)[]);
  }

  runner(real: CommandRunner): CommandRunner {
    return this.#killer.wrap(real, ["run"]);
  }

  storage(real: StorageRegistry): StorageRegistry {
    return new StorageRegistry(real.all().map((backend) => this.#killer.wrapBackend(backend)));
  }

  /** While it works, every change of a volume's file is an effect. */
  async withVolumeFiles(work: () => Promise<unknown>): Promise<void> {
    const names = ["write", "sync", "syncData", "extend"] as const;
    const real = Object.getOwnPropertyDescriptors(VolumeFile.prototype);
    const effect = () => {
      this.#killer.effect();
    };
    for (const name of names) {
      const method = real[name].value as (...args: unknown[]) => Promise<unknown>;
      Object.defineProperty(VolumeFile.prototype, name, {
        ...real[name],
        async value(this: VolumeFile, ...args: unknown[]) {
          effect();
          return await method.apply(this, args);
        },
      });
    }
    try {
      await work();
    } finally {
      for (const name of names) Object.defineProperty(VolumeFile.prototype, name, real[name]);
    }
  }
}
