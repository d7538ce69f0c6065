import type { KeyRecord } from "../../generated/key-record.js";
import { Secret } from "../../secret/secret.js";
import type { KeyUuid } from "../key-uuid.js";
import type { Budget } from "../remote/budget.js";
import { badAnswer, type Place, unavailable } from "../remote/failures.js";
import type { HttpAnswer } from "../remote/http-client.js";
import { type BarbicanClient, type BarbicanRequest, isObject, parseObject } from "./barbican-client.js";
import type { Metadata } from "./record-metadata.js";
import { type Consumer, idIn, modeOf, parseEntry, type SecretEntry } from "./secret-entry.js";
import { secretNameOf } from "./secret-name.js";

/** The first version of the API in which a list of secrets has their consumers. */
const WITH_CONSUMERS = { "openstack-api-version": "key-manager 1.1" };
const JSON_TYPE = { "content-type": "application/json" };
/** Barbican gives no more at once. */
const PAGE = 100;
const ATTEMPTS = 3;

/** A page of a list, and how long the whole list is. */
interface Page {
  readonly entries: readonly SecretEntry[];
  readonly total: number;
}

/** Barbican's API as far as Luksmith uses it. Absence is an answer; everything else that fails throws. */
export class Secrets {
  readonly #client: BarbicanClient;

  constructor(client: BarbicanClient) {
    this.#client = client;
  }

  /** Those of the key `uuid`, finished or not. */
  async under(uuid: KeyUuid, budget: Budget, detail?: "consumers"): Promise<SecretEntry[]> {
    const filter = `mode=${encodeURIComponent(modeOf(uuid))}`;
    const entries = await this.#whole(filter, () => budget, detail === undefined ? {} : WITH_CONSUMERS);
    // the filter is a pattern in Barbican
    return entries.filter((entry) => entry.uuid === uuid);
  }

  /** All of Luksmith's, finished or not. `budget` is asked for each request: a long list takes as long as it is. */
  async all(budget: () => Budget): Promise<SecretEntry[]> {
    const entries = await this.#whole("secret_type=passphrase", budget, {});
    return entries.filter(({ uuid }) => uuid !== undefined);
  }

  async entry(id: string, budget: Budget): Promise<SecretEntry | undefined> {
    const answer = await this.#send({ method: "GET", path: `/v1/secrets/${id}`, purpose: "read" }, budget);
    if (answer.status === 404) return undefined;
    const place = await this.#client.place(budget);
    return parseEntry(place, parseObject(place, answer));
  }

  /** A secret that is not finished. @returns its id */
  async create(record: KeyRecord, uuid: KeyUuid, budget: Budget): Promise<string> {
    const answer = await this.#send(
      {
        method: "POST",
        path: "/v1/secrets",
        headers: JSON_TYPE,
        body: json({ name: secretNameOf(record), secret_type: "passphrase", mode: modeOf(uuid) }),
        purpose: "create",
      },
      budget,
    );
    const place = await this.#client.place(budget);
    if (answer.status === 404) throw notBarbican(place);
    return idIn(place, parseObject(place, answer)["secret_ref"]);
  }

  /** Finishes a secret: it has its payload then, for good. @returns `absent` if it is there no more */
  async writePayload(
    id: string,
    payload: Uint8Array,
    contentType: string,
    budget: Budget,
  ): Promise<"written" | "absent"> {
    const headers = { "content-type": contentType };
    const answer = await this.#send(
      // that it has a payload already (409) can only be what an attempt has written whose answer was lost
      {
        method: "PUT",
        path: `/v1/secrets/${id}`,
        headers,
        body: payload,
        manner: "repeatable",
        purpose: "change",
      },
      budget,
    );
    return answer.status === 404 ? "absent" : "written";
  }

  /** The caller disposes of it. */
  async payload(id: string, contentType: string, budget: Budget): Promise<Secret | undefined> {
    const headers = { accept: contentType };
    const { status, body } = await this.#send(
      { method: "GET", path: `/v1/secrets/${id}/payload`, headers, purpose: "read" },
      budget,
    );
    return status === 404 ? undefined : Secret.own(body);
  }

  async metadata(id: string, budget: Budget): Promise<Metadata | undefined> {
    const answer = await this.#send(
      { method: "GET", path: `/v1/secrets/${id}/metadata`, purpose: "read" },
      budget,
    );
    if (answer.status === 404) return undefined;
    const place = await this.#client.place(budget);
    const { metadata } = parseObject(place, answer);
    if (isMetadata(metadata)) return metadata;
    throw badAnswer(place, "the metadata of a secret in it is none");
  }

  /** Replaces all of it. */
  async writeMetadata(id: string, metadata: Metadata, budget: Budget): Promise<"written" | "absent"> {
    const request = { method: "PUT", path: `/v1/secrets/${id}/metadata`, headers: JSON_TYPE } as const;
    const { status } = await this.#send(
      { ...request, body: json({ metadata }), manner: "repeatable", purpose: "change" },
      budget,
    );
    return status === 404 ? "absent" : "written";
  }

  /** Idempotent. A Barbican before 15.0 knows no consumers of secrets and answers 404: then there is none. */
  async register(id: string, consumer: Consumer, budget: Budget): Promise<void> {
    const request = { method: "POST", path: `/v1/secrets/${id}/consumers`, headers: JSON_TYPE } as const;
    await this.#send({ ...request, body: json(consumer), manner: "repeatable", purpose: "change" }, budget);
  }

  /** With its consumers, whoever they are. Idempotent. */
  async remove(id: string, budget: Budget, manner: "once" | "repeatable" = "repeatable"): Promise<void> {
    await this.#send({ method: "DELETE", path: `/v1/secrets/${id}`, manner, purpose: "delete" }, budget);
  }

  async #whole(
    filter: string,
    budget: () => Budget,
    headers: Readonly<Record<string, string>>,
  ): Promise<SecretEntry[]> {
    for (let count = 1; ; count++) {
      const entries = await this.#pages(filter, budget, headers);
      if (entries !== undefined) return entries;
      if (count === ATTEMPTS)
        throw unavailable(await this.#client.place(budget()), "its list changes while it is read");
    }
  }

  /** Undefined if the list has changed meanwhile, so that a page may lack what another one has had. */
  async #pages(
    filter: string,
    budget: () => Budget,
    headers: Readonly<Record<string, string>>,
  ): Promise<SecretEntry[] | undefined> {
    const found = new Map<string, SecretEntry>();
    for (let offset = 0, total = Infinity; offset < total;) {
      // in an order that is the same for each page, whatever the database; what has no mode is not ours
      const query = `${filter}&sort=mode,created&limit=${PAGE}&offset=${offset}`;
      const page = await this.#list(query, budget(), headers);
      if (total !== Infinity && page.total !== total) return undefined;
      total = page.total;
      if (page.entries.length === 0 && total > offset) return undefined;
      for (const entry of page.entries) found.set(entry.id, entry);
      offset += page.entries.length;
    }
    return [...found.values()];
  }

  async #list(query: string, budget: Budget, headers: Readonly<Record<string, string>>): Promise<Page> {
    const answer = await this.#send(
      { method: "GET", path: `/v1/secrets?${query}`, headers, purpose: "list" },
      budget,
    );
    const place = await this.#client.place(budget);
    if (answer.status === 404) throw notBarbican(place);
    const { secrets, total } = parseObject(place, answer);
    if (!Array.isArray(secrets) || !Number.isSafeInteger(total))
      throw badAnswer(place, "it is no list of secrets");
    return { entries: secrets.map((secret) => parseEntry(place, secret)), total: total as number };
  }

  #send(request: BarbicanRequest, budget: Budget): Promise<HttpAnswer> {
    return this.#client.send(request, budget);
  }
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function isMetadata(value: unknown): value is Metadata {
  return isObject(value) && Object.values(value).every((text) => typeof text === "string");
}

function notBarbican(place: Place): Error {
  return badAnswer(place, "there is no key manager API at this address (404)");
}
