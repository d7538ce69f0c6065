import { inject, injectable } from "../di.js";
import type { Mappings } from "../encryption/encryption-provider.js";
import type { EncryptionProviders } from "../encryption/encryption-providers.js";
import { askedOnce } from "../encryption/versions.js";
import type { ErrorCode } from "../error/catalogue.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { Guest, HostAdapter } from "../host/host-adapter.js";
import type { Keyring } from "../keystore/keyring.js";
import type { Logger } from "../log/logger.js";
import { execute } from "../plan/execute.js";
import type { DiskFacts } from "../plan/facts.js";
import { withFittingLegacy } from "../plan/fitting-legacy.js";
import { refuseForbiddenFormats } from "../plan/format-permission.js";
import { gatherFacts } from "../plan/gather.js";
import { gatherKeys } from "../plan/gather-keys.js";
import type { GuestLocks } from "../plan/guest-locks.js";
import { copiesIn, type KeyCopy, warnOfCopy } from "../plan/key-copies.js";
import { KeySession } from "../plan/key-session.js";
import { type Resources, StepPerformer } from "../plan/perform.js";
import {
  type NewDiskAbility,
  refuseUnableFormats,
  refuseUnableMappings,
  refuseUnableRequests,
} from "../plan/host-ability.js";
import { warnOfPlain } from "../plan/plain-warning.js";
import { planReconnect } from "../plan/plan-provide.js";
import { refuseMappedElsewhere } from "../plan/refuse-mapped.js";
import { refuseUnannotated } from "../plan/refusals.js";
import type { Plan } from "../plan/step.js";
import { closingLeftovers } from "../reap/leftovers-of-start.js";
import { resolveRequests } from "../request/resolve.js";
import type { EffectiveSettings } from "../settings/settings.js";
import type { StorageRegistry } from "../storage/index.js";
import { GUEST_LOCKS, HOST, KEYRING, LOGGER, MAPPINGS, PROVIDERS, SETTINGS, STORAGE } from "../tokens.js";

/** Milliseconds that a start waits for copies of its keys: whoever protects them may be away. */
const COPYING = 3000;

/** Makes a plan from facts; pure. */
export type Planner = (guest: Guest, facts: readonly DiskFacts[]) => Plan;

interface Planned {
  readonly plan: Plan;
  readonly copies: readonly KeyCopy[];
}

/** The story that every event tells: request → facts → plan → execute. */
@injectable()
export class GuestPreparation {
  readonly #resources: Resources;

  constructor(
    @inject(HOST) host: HostAdapter,
    @inject(KEYRING) keyring: Keyring,
    @inject(STORAGE) storage: StorageRegistry,
    @inject(PROVIDERS) providers: EncryptionProviders,
    @inject(MAPPINGS) mappings: Mappings,
    @inject(SETTINGS) private readonly settings: EffectiveSettings,
    @inject(GUEST_LOCKS) private readonly locks: GuestLocks,
    @inject(LOGGER) private readonly logger: Logger,
  ) {
    this.#resources = { host, keyring, storage, providers, mappings, logger };
  }

  /** The plan, with nothing changed. @throws the refusal that the guest's start would meet */
  async plan(guest: Guest, planner: Planner): Promise<Plan> {
    using session = new KeySession();
    return (await this.#plan(guest, planner, session)).plan;
  }

  /** Plans and does it. @throws the first error, after everything was undone that may be undone */
  prepare(guest: Guest, planner: Planner): Promise<Plan> {
    return this.#andCopy(() => this.#prepare(guest, planner));
  }

  async #prepare(guest: Guest, planner: Planner): Promise<Plan> {
    await this.locks.announceStart(guest);
    using session = new KeySession();
    const planned = await this.#plan(guest, planner, session).catch(unlessUnsettled);
    if (planned !== undefined && onlyOpens(planned.plan)) return await this.#do(guest, planned, session);
    return await this.locks.hold(guest, async () => {
      // planned again, since whoever held the lock may have done it all
      return await this.#do(guest, await this.#plan(guest, planner, session), session);
    });
  }

  /** What `reconnect` would do now. */
  async planReconnect(guest: Guest): Promise<Plan> {
    using session = new KeySession();
    return await this.#planReconnect(guest, session);
  }

  /** For a guest that is running already: nobody's wishes are enforced, and no volume is touched. */
  reconnect(guest: Guest): Promise<Plan> {
    return this.#andCopy(async () => {
      using session = new KeySession();
      return await this.#execute(guest, await this.#planReconnect(guest, session), session);
    });
  }

  /** Does a plan that needs the passphrase of no existing key. */
  async execute(guest: Guest, plan: Plan): Promise<Plan> {
    using session = new KeySession();
    return await this.#execute(guest, plan, session);
  }

  /** The host has its secrets, and nobody is locked out, when the copies of the keys are waited for. */
  async #andCopy(work: () => Promise<Plan>): Promise<Plan> {
    try {
      return await work();
    } finally {
      await this.#resources.keyring.settled(COPYING);
    }
  }

  async #plan(guest: Guest, planner: Planner, session: KeySession): Promise<Planned> {
    const requested = resolveRequests(guest, this.settings);
    const requests = await withFittingLegacy(guest, requested, this.#resources.storage);
    const ability = this.#abilityFor(guest);
    await refuseUnableRequests(guest, requests, ability);
    refuseUnannotated(guest, requests);
    await refuseUnableMappings(guest, ability);
    await refuseMappedElsewhere(guest, this.#resources.mappings.claims());
    const facts = await gatherFacts(guest, requests, this.#resources, session);
    const plan = closingLeftovers(guest, planner(guest, facts), this.#resources.mappings.claims(guest.id));
    await refuseForbiddenFormats(guest, plan, this.#resources.storage);
    await refuseUnableFormats(guest, plan, ability);
    return { plan, copies: copiesIn(facts) };
  }

  /** Versions are asked with the guest, whose start must not wait long for a host manager that is starting itself. */
  #abilityFor(guest: Guest): NewDiskAbility {
    const { host, providers } = this.#resources;
    const versions = askedOnce(() => host.versions(guest));
    const { legacy, encryption } = this.settings;
    return { providers, versions, legacy, engine: encryption.engine };
  }

  async #do(guest: Guest, { plan, copies }: Planned, session: KeySession): Promise<Plan> {
    for (const copy of copies) warnOfCopy(guest, copy, this.logger);
    warnOfPlain(guest, plan, this.logger);
    return await this.#execute(guest, plan, session, "withdraw");
  }

  async #planReconnect(guest: Guest, session: KeySession): Promise<Plan> {
    return planReconnect(await gatherKeys(guest, this.#resources.keyring, session, this.logger));
  }

  /** @param others what becomes of host secrets of the guest that the plan does not provide, if it provides any */
  async #execute(
    guest: Guest,
    plan: Plan,
    session: KeySession,
    others: "withdraw" | "keep" = "keep",
  ): Promise<Plan> {
    await execute(plan, new StepPerformer(guest, this.#resources, session, others), this.logger);
    return plan;
  }
}

/**
 * Refusals that another process can cause which is storing a key and formatting its volume while we look at the one
 * and then at the other. What is true is seen under the lock.
 */
const UNSETTLED: ReadonlySet<ErrorCode> = new Set([
  "KEY_NOT_FOUND",
  "LUKS_HEADER_INVALID",
  "VOLUME_NOT_EMPTY",
  "VOLUME_NOT_FORMATTED",
  "VOLUME_NOT_PROVEN_EMPTY",
]);

function unlessUnsettled(thrown: unknown): undefined {
  if (!(thrown instanceof LuksmithError) || !UNSETTLED.has(thrown.code)) throw thrown;
}

/** Every start but a disk's first one: nothing is changed that another process could change as well. */
function onlyOpens({ stages }: Plan): boolean {
  return stages.flat().every(({ kind }) => kind === "provide-secrets" || kind === "open-mapping");
}
