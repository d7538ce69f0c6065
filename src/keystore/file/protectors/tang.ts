import { join } from "node:path";
import { LuksmithError } from "../../../error/luksmith-error.js";
import type { CommandRunner } from "../../../exec/command-runner.js";
import { makeDirectory, replaceFile } from "../../../fs/atomic-file.js";
import type { Secret } from "../../../secret/secret.js";
import type { Protector, ProtectorTools, Sealed, SettingsOf, StoredBy } from "../protector.js";
import { lastLine, runForSecret } from "./secret-output.js";

/** Milliseconds; curl gives up before, and says why. */
const TIMEOUT = 10_000;
/** clevis gives its curl no time limit; with `CURL_HOME` curl finds one. Seconds. */
const CURL_LIMITS = "connect-timeout = 2\nmax-time = 4\n";
const CURL_HOME = "/run/luksmith/clevis";

/**
 * The master key in a JWE that clevis binds to Tang servers. The servers learn nothing about it, and see only that
 * somebody asks. Their signing keys are named in the settings: an impostor on the network cannot step in.
 */
export class Tang implements Protector<"tang"> {
  readonly #settings: SettingsOf<"tang">;
  readonly #runner: CommandRunner;

  constructor(settings: SettingsOf<"tang">, { runner }: ProtectorTools) {
    this.#settings = settings;
    this.#runner = runner;
  }

  async protect(masterKey: Secret): Promise<Sealed<"tang">> {
    const input = masterKey.use((bytes) => Buffer.from(bytes));
    try {
      const { exitCode, output, stderr } = await this.#clevis(
        ["encrypt", ...policyOf(this.#settings)],
        input,
      );
      const jwe = output.use((bytes) => bytes.toString("latin1").trim());
      if (exitCode === 0) return { jwe };
      throw new LuksmithError("PROTECTOR_UNAVAILABLE", {
        what: "clevis cannot bind the master key to the Tang servers",
        why: lastLine(stderr),
        hint: `see whether they answer: ${this.#settings.servers.map(({ url }) => `curl -f ${url}/adv`).join("; ")}; tang-show-keys on a server prints its thumbprint`,
      });
    } finally {
      input.fill(0);
    }
  }

  async unprotect({ jwe, settings: { servers } }: StoredBy<"tang">): Promise<Secret> {
    const { exitCode, output, stderr } = await this.#clevis(["decrypt"], Buffer.from(jwe, "latin1"));
    if (exitCode === 0) return output;
    output.dispose();
    const unreachable = stderr
      .split("\n")
      .filter((line) => line.startsWith("Error communicating with server"));
    if (unreachable.length > 0) {
      throw new LuksmithError("PROTECTOR_UNAVAILABLE", {
        what: "too few Tang servers help to open the master key",
        why: `no answer, or no longer the key, at ${unreachable.map((line) => line.split(" ").at(-1)).join(", ")}`,
        hint: `see whether they answer: ${servers.map(({ url }) => `curl -f ${url}/adv`).join("; ")}; if a key is lost: luksmith keystore recovery restore`,
      });
    }
    throw new LuksmithError("MASTER_KEY_UNUSABLE", {
      what: "clevis does not decrypt the master key",
      why: lastLine(stderr) || "it was changed",
      hint: "luksmith keystore recovery restore, or bring the file back from a backup",
    });
  }

  async #clevis(args: readonly string[], input: Uint8Array) {
    makeDirectory(CURL_HOME, 0o700);
    replaceFile(join(CURL_HOME, ".curlrc"), Buffer.from(CURL_LIMITS), 0o600);
    return await runForSecret(this.#runner, {
      tool: "clevis",
      args,
      input,
      env: { CURL_HOME },
      timeout: TIMEOUT,
    });
  }
}

/** What `clevis encrypt` is told: one server by itself, of several as many as the threshold says. */
function policyOf({ servers, threshold }: SettingsOf<"tang">): [pin: string, config: string] {
  if (threshold > servers.length) {
    throw new LuksmithError("SETTINGS_INVALID", {
      what: "cannot bind the master key to Tang servers",
      why: `the settings ask for ${threshold} servers and name ${servers.length}`,
    });
  }
  const [first, ...others] = servers.map(({ url, thumbprint }) => ({ url, thp: thumbprint }));
  if (others.length === 0) return ["tang", JSON.stringify(first)];
  return ["sss", JSON.stringify({ t: threshold, pins: { tang: [first, ...others] } })];
}
