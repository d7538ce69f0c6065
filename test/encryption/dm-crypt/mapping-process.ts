import { readFileSync } from "node:fs";
import { DmCryptMappings, type MappingPlaces } from "../../../src/encryption/dm-crypt/dm-crypt-mappings.js";
import type { MappingRequest } from "../../../src/encryption/encryption-provider.js";
import { asLuksmithError } from "../../../src/error/luksmith-error.js";
import { type Command, ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { Secret } from "../../../src/secret/secret.js";

/** The one argument of mapping-process.ts, as JSON. */
export interface MappingOrder {
  readonly what: "open" | "close";
  readonly request: MappingRequest;
  readonly passphraseFile: string;
  readonly places: MappingPlaces;
  /** The process kills itself before its n-th command, counted from 1, or while that runs. */
  readonly killed?: { readonly when: "before" | "during"; readonly command: number };
}

/** Ends itself in the middle of its work. */
class MortalCommandRunner extends ExecaCommandRunner {
  #commands = 0;

  constructor(private readonly killed: MappingOrder["killed"]) {
    super();
  }

  override async run(command: Command) {
    const isLast = ++this.#commands === this.killed?.command;
    if (isLast && this.killed.when === "before") die();
    const running = super.run(command);
    // the program is started after the next turn, when execa is loaded
    if (isLast) setTimeout(die, 100);
    return await running;
  }
}

function die(): void {
  process.kill(process.pid, "SIGKILL");
}

/** Opens or closes a mapping in a process of its own. Prints `done` or the error's code. */
async function main({ what, request, passphraseFile, places, killed }: MappingOrder): Promise<string> {
  using passphrase = Secret.own(readFileSync(passphraseFile));
  const mappings = new DmCryptMappings(new MortalCommandRunner(killed), places);
  try {
    if (what === "open") await mappings.open(request, passphrase);
    else await mappings.close(request.name);
    return "done";
  } catch (thrown) {
    return asLuksmithError(thrown).code;
  }
}

console.log(await main(JSON.parse(process.argv[2] ?? "") as MappingOrder));
