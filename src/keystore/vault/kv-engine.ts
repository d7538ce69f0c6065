import { LuksmithError } from "../../error/luksmith-error.js";
import type { SettingsOf } from "../index.js";
import type { KeyUuid } from "../key-uuid.js";
import type { Budget } from "../remote/budget.js";
import { badAnswer, forbidden, type Place, quoted } from "../remote/failures.js";
import { asObject, errorsOf, objectOf, type VaultAnswer, type VaultRequest } from "./vault-client.js";
import type { Deletion } from "./key-failures.js";
import { takePassphrase } from "./stored-form.js";

/** What stands under a UUID. */
export type Secret =
  | { readonly kind: "absent" }
  /** Somebody has deleted or destroyed the newest version, and not the versions before it, nor the name. */
  | ({ readonly kind: "deleted" } & Deletion)
  | {
      readonly kind: "secret";
      readonly version: number;
      /** When the engine will delete it by itself; undefined for never. */
      readonly deletionTime: string | undefined;
      readonly data: Readonly<Record<string, unknown>>;
      /** What `takePassphrase` took out of the answer; the caller wipes it. */
      readonly taken: Buffer | undefined;
    };

/** How a check-and-set write ended; `unclear`: its version is not current, and an attempt before has lost its answer. */
export type Written =
  | { readonly kind: "written"; readonly version: number; readonly deletionTime: string | undefined }
  | { readonly kind: "conflict" | "unclear" };

/** Sends with a token; VaultSession. */
export interface Sender {
  send(request: Omit<VaultRequest, "token">, budget: Budget): Promise<VaultAnswer>;
}

const MISMATCH = /check-and-set parameter did not match/;

/** A KV secrets engine of version 2, where keys are under `<mount>/data/<prefix>/<uuid>`. */
export class KvEngine {
  readonly #sender: Sender;
  readonly #place: Place;
  readonly #mount: string;
  readonly #prefix: string;
  #confirmed = false;

  constructor(
    sender: Sender,
    place: Place,
    { mount, prefix }: Pick<SettingsOf<"vault">, "mount" | "prefix">,
  ) {
    this.#sender = sender;
    this.#place = place;
    this.#mount = mount;
    this.#prefix = prefix;
  }

  /**
   * Sees once that there is an engine of version 2 at the mount. A mount of version 1 takes and answers everything: a
   * key would be overwritten in silence, and one that is there would not be found.
   * @throws SETTINGS_INVALID, KEYSTORE_FORBIDDEN
   */
  async confirm(budget: Budget): Promise<void> {
    if (this.#confirmed) return;
    const answer = await this.#sender.send(
      { method: "GET", path: `sys/internal/ui/mounts/${this.#mount}` },
      budget,
    );
    if (answer.status === 403) throw this.#forbidden(answer, "and is there a secrets engine at this mount?");
    const { type, path, options } = this.#dataOf(answer);
    if (type !== "kv") throw this.#wrongMount(`it has no KV secrets engine at ${this.#mount}`);
    if (path !== `${this.#mount}/`)
      throw this.#wrongMount(`the secrets engine is at ${quoted(String(path))}`);
    if (String(asObject(options)?.["version"]) !== "2") {
      throw this.#wrongMount(
        `the KV secrets engine at ${this.#mount} has version 1, which keeps no versions`,
      );
    }
    this.#confirmed = true;
  }

  /** @throws KEYSTORE_FORBIDDEN, SETTINGS_INVALID */
  async read(uuid: KeyUuid, budget: Budget): Promise<Secret> {
    const answer = await this.#sender.send({ method: "GET", path: this.#data(uuid) }, budget);
    const taken = takePassphrase(answer.body);
    try {
      if (answer.status === 404) return await this.#absent(answer, budget);
      const { data, metadata } = this.#dataOf(answer);
      const { version, deletion_time: time } = asObject(metadata) ?? {};
      const secret = asObject(data);
      if (secret !== undefined && isVersion(version)) {
        return { kind: "secret", version, deletionTime: timeIn(time), data: secret, taken };
      }
      // that is how version 1 answers where somebody has used a path of version 2
      await this.confirm(budget);
      throw badAnswer(this.#place, "a secret has no version");
    } catch (thrown) {
      taken?.fill(0);
      throw thrown;
    } finally {
      answer.body.fill(0);
    }
  }

  /**
   * Writes if `version` is the current one, 0 for a name that has none. Tried again when its answer is lost: only one
   * attempt can succeed.
   * @param body as `writeBody` makes it for `version`
   * @throws KEYSTORE_WRITE_FAILED, KEYSTORE_FORBIDDEN
   */
  async write(uuid: KeyUuid, body: Buffer, budget: Budget): Promise<Written> {
    await this.confirm(budget);
    let lost = 0;
    const answer = await this.#sender.send(
      { method: "POST", path: this.#data(uuid), body, lost: () => lost++ },
      budget,
    );
    if (answer.status === 400 && MISMATCH.test(errorsOf(answer.body))) {
      return { kind: lost > 0 ? "unclear" : "conflict" };
    }
    if (answer.status === 400 || answer.status === 413) throw this.#refused(uuid, answer);
    const { version, deletion_time: time } = this.#dataOf(answer);
    if (!isVersion(version)) throw badAnswer(this.#place, "a write brings no version");
    return { kind: "written", version, deletionTime: timeIn(time) };
  }

  /**
   * After what time the engine would delete a new version of this secret by itself: `1h0m0s`. Undefined for never, and
   * where the policy does not let us ask.
   * @throws SETTINGS_INVALID
   */
  async lifetime(uuid: KeyUuid, budget: Budget): Promise<string | undefined> {
    const paths = [`${this.#mount}/config`, `${this.#mount}/metadata/${this.#prefix}/${uuid}`];
    const [ofEngine, ofSecret] = await Promise.all(paths.map((path) => this.#lifetimeAt(path, budget)));
    // a negative time of the engine switches those of the secrets off as well
    if (ofEngine?.startsWith("-") === true) return undefined;
    return [ofSecret, ofEngine].find((time) => time !== undefined && !/^(0s|-)/.test(time));
  }

  /** The names below the prefix, folders with a slash at their end. @throws KEYSTORE_FORBIDDEN, SETTINGS_INVALID */
  async names(budget: Budget): Promise<string[]> {
    await this.confirm(budget);
    const path = `${this.#mount}/metadata/${this.#prefix}/?list=true`;
    const answer = await this.#sender.send({ method: "GET", path }, budget);
    if (answer.status === 404) {
      this.#expectNothing(answer);
      return [];
    }
    const { keys } = this.#dataOf(answer);
    if (!Array.isArray(keys)) throw badAnswer(this.#place, "a list has no keys");
    return keys.filter((key) => typeof key === "string");
  }

  /** Removes every version and the name, for good. Idempotent. @throws KEYSTORE_FORBIDDEN, SETTINGS_INVALID */
  async remove(uuid: KeyUuid, budget: Budget): Promise<void> {
    await this.confirm(budget);
    const path = `${this.#mount}/metadata/${this.#prefix}/${uuid}`;
    const answer = await this.#sender.send({ method: "DELETE", path }, budget);
    if (answer.status === 204 || answer.status === 404) return;
    this.#dataOf(answer);
  }

  /**
   * Destroys versions for good, and not what stands above them; idempotent. With none it tells whether we may.
   * @throws KEYSTORE_FORBIDDEN, SETTINGS_INVALID
   */
  async destroy(uuid: KeyUuid, versions: readonly number[], budget: Budget): Promise<void> {
    await this.confirm(budget);
    const path = `${this.#mount}/destroy/${this.#prefix}/${uuid}`;
    const body = Buffer.from(JSON.stringify({ versions }));
    const answer = await this.#sender.send({ method: "POST", path, body }, budget);
    // what it says to no versions from somebody who may destroy some
    const isAllowed = versions.length === 0 && answer.status === 400;
    // gone meanwhile, with all its versions
    if (answer.status === 204 || answer.status === 404 || isAllowed) return;
    this.#dataOf(answer);
  }

  /** As the command line names it: `-mount=secret luksmith/7f3a…`. */
  argumentFor(uuid: KeyUuid): string {
    return `-mount=${this.#mount} ${this.#prefix}/${uuid}`;
  }

  async #lifetimeAt(path: string, budget: Budget): Promise<string | undefined> {
    const answer = await this.#sender.send({ method: "GET", path }, budget).catch((thrown: unknown) => {
      // so ends a 403 to a token that may not look itself up; if it is worth nothing any more, the write will tell
      if (thrown instanceof LuksmithError && thrown.code === "KEYSTORE_AUTH_FAILED") return undefined;
      throw thrown;
    });
    if (answer === undefined || answer.status === 403) return undefined;
    if (answer.status === 404) {
      this.#expectNothing(answer);
      return undefined;
    }
    const { delete_version_after: time } = this.#dataOf(answer);
    return typeof time === "string" ? time : undefined;
  }

  #data(uuid: KeyUuid): string {
    return `${this.#mount}/data/${this.#prefix}/${uuid}`;
  }

  async #absent(answer: VaultAnswer, budget: Budget): Promise<Secret> {
    const metadata = asObject(asObject(objectOf(answer.body)?.["data"])?.["metadata"]);
    const { version, destroyed } = metadata ?? {};
    if (isVersion(version)) return { kind: "deleted", version, destroyed: destroyed === true };
    this.#expectNothing(answer);
    await this.confirm(budget);
    return { kind: "absent" };
  }

  /** A server says 404 without a word where there is nothing; with words, or without JSON, it means something else. */
  #expectNothing(answer: VaultAnswer): void {
    const said = errorsOf(answer.body);
    if (/no handler for route/.test(said)) throw this.#wrongMount(said);
    if (said !== "" || !Array.isArray(objectOf(answer.body)?.["errors"])) {
      throw badAnswer(this.#place, `status 404${said === "" ? "" : `: ${said}`}`);
    }
  }

  #dataOf(answer: VaultAnswer): Readonly<Record<string, unknown>> {
    const said = errorsOf(answer.body);
    if (answer.status === 403) throw this.#forbidden(answer, "");
    if (/no handler for route/.test(said)) throw this.#wrongMount(said);
    const data = answer.status === 200 ? asObject(objectOf(answer.body)?.["data"]) : undefined;
    if (data !== undefined) return data;
    throw badAnswer(this.#place, `status ${answer.status}${said === "" ? "" : `: ${said}`}`);
  }

  #forbidden(answer: VaultAnswer, question: string): LuksmithError {
    const [data, metadata, destroy] = ["data", "metadata", "destroy"].map(
      (part) => `${this.#mount}/${part}/${this.#prefix}/*`,
    );
    const hint = `give luksmith a policy with: path "${data}" { capabilities = ["create", "read", "update"] } path "${metadata}" { capabilities = ["list", "read", "delete"] } path "${destroy}" { capabilities = ["update"] } path "${this.#mount}/config" { capabilities = ["read"] }`;
    const why = errorsOf(answer.body) || "permission denied";
    return forbidden(this.#place, `${why} (403)`, question === "" ? hint : `${hint}; ${question}`);
  }

  #wrongMount(why: string): LuksmithError {
    return new LuksmithError("SETTINGS_INVALID", {
      what: `keystore ${this.#place.name} has no secrets engine that can be used`,
      why: `${this.#place.address}: ${why}`,
      hint: "correct mount and namespace in the settings, or make an engine: vault secrets enable -path=secret kv-v2",
    });
  }

  #refused(uuid: KeyUuid, answer: VaultAnswer): LuksmithError {
    return new LuksmithError("KEYSTORE_WRITE_FAILED", {
      what: `keystore ${this.#place.name} does not store key ${uuid}`,
      why: `${this.#place.address}: ${errorsOf(answer.body) || "the request is wrong"} (${answer.status})`,
    });
  }
}

function isVersion(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value > 0;
}

/** The server says "" for never. */
function timeIn(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
