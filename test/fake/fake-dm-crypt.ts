import { DmCryptLuks } from "../../src/encryption/dm-crypt/dm-crypt-luks.js";
import { type Trait, traitsOf } from "../../src/encryption/traits.js";
import { RecordingCommandRunner } from "./recording-command-runner.js";

/** dm-crypt on a machine whose kernel lacks it: formats volumes for real, and promises what it could not open. */
export class FakeDmCrypt extends DmCryptLuks {
  constructor() {
    super(new RecordingCommandRunner());
  }

  override traits(): Promise<readonly Trait[]> {
    return Promise.resolve(traitsOf(this.formats));
  }
}
