import type { CommandRunner } from "../../exec/command-runner.js";
import type { Secret } from "../../secret/secret.js";
import type { Closed, MappingClaim, MappingRequest, Mappings } from "../encryption-provider.js";

/** Skeleton; the dm-crypt helper writes it. */
export class DmCryptMappings implements Mappings {
  constructor(
    private readonly runner: CommandRunner,
    private readonly directory: string,
  ) {}

  open(_request: MappingRequest, _passphrase: Secret): Promise<void> {
    throw new Error(`not yet: ${this.directory} ${typeof this.runner}`);
  }

  close(_name: string): Promise<Closed> {
    return Promise.resolve({ kind: "closed" });
  }

  resize(_name: string, _passphrase: Secret): Promise<void> {
    throw new Error("not yet");
  }

  claims(_guestId?: string): readonly MappingClaim[] {
    return [];
  }
}
