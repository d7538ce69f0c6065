import { inject, injectable } from "../di.js";
import type { AuditLog } from "../audit/audit-log.js";
import { neverRefusing, recordFailure } from "../audit/recorded.js";
import type { Mappings } from "../encryption/encryption-provider.js";
import type { EncryptionProviders } from "../encryption/encryption-providers.js";
import { askedOnce } from "../encryption/versions.js";
import type { ErrorCode } from "../error/catalogue.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { HeaderVault } from "../headers/header-vault.js";
import type { Guest, HostAdapter } from "../host/host-adapter.js";
import type { Keyring } from "../keystore/keyring.js";
import type { Logger } from "../log/logger.js";
import type { Arrivals } from "../migration/arrivals.js";
import type { WithCopies } from "../migration/copied-disks.js";
import { execute } from "../plan/execute.js";
import type { DiskFacts } from "../plan/facts.js";
import { withFittingLegacy } from "../plan/fitting-legacy.js";
import { type ForeignKey, foreignKeysIn, warnOfForeign } from "../plan/foreign-keys.js";
import { refuseForbiddenFormats } from "../plan/format-permission.js";
import { gatherFacts } from "../plan/gather.js";
import { gatherKeys } from "../plan/gather-keys.js";
import type { GuestLocks } from "../plan/guest-locks.js";
import { copiesIn, type KeyCopy, refuseFormerCopies, warnOfCopy } from "../plan/key-copies.js";
import { KeySession } from "../plan/key-session.js";
import { type Resources, StepPerformer } from "../plan/perform.js";
import {
  type NewDiskAbility,
  refuseUnableFormats,
  refuseUnableMappings,
  refuseUnableRequests,
} from "../plan/host-ability.js";
import { warnOfPlain } from "../plan/plain-warning.js";
import { type FoundKey, foundKeysIn, recordUse } from "../plan/record-use.js";
import { planReconnect } from "../plan/plan-provide.js";
import { refuseMappedElsewhere } from "../plan/refuse-mapped.js";
import { refuseUnannotated } from "../plan/refusals.js";
import type { CopiedDisk, Plan } from "../plan/step.js";
import { closingLeftovers } from "../reap/leftovers-of-start.js";
import { wantsRecovery } from "../recovery/wanted-at-start.js";
import type { EncryptionRequest } from "../request/ask.js";
import { resolveRequests } from "../request/resolve.js";
import type { EffectiveSettings } from "../settings/settings.js";
import { noteKin } from "../separate/clones.js";
import type { StorageRegistry } from "../storage/index.js";
import type { LeftBehind } from "../exec/left-behind.js";
import {
  ARRIVALS,
  AUDIT,
  GUEST_LOCKS,
  HEADER_VAULT,
  HOST,
  KEYRING,
  LEAVE_BEHIND,
  LOGGER,
  MAPPINGS,
  PROVIDERS,
  SETTINGS,
  STORAGE,
} from "../tokens.js";

/** Milliseconds that a start waits for copies of its keys: whoever protects them may be away. */
const COPYING = 3000;

/** Makes a plan from facts; pure. */
export type Planner = (
  guest: Guest,
  facts: readonly DiskFacts[],
  /** Of a guest that arrives. */
  copies: readonly CopiedDisk[],
) => Plan;

/** `arrives`: disks of a guest that migrates here may get keys of their own, since their content is copied. */
export type Manner = "stays" | "arrives";

interface Preparing {
  readonly planner: Planner;
  readonly manner: Manner;
}

interface Planned {
  /** As it is to be here. */
  readonly guest: Guest;
  readonly plan: Plan;
  readonly copies: readonly KeyCopy[];
  readonly keys: readonly FoundKey[];
  readonly foreign: readonly ForeignKey[];
  readonly facts: readonly DiskFacts[];
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
    @inject(ARRIVALS) arrivals: Arrivals,
    @inject(AUDIT) audit: AuditLog,
    @inject(HEADER_VAULT) headers: HeaderVault,
    @inject(LOGGER) private readonly logger: Logger,
    @inject(LEAVE_BEHIND) private readonly leaveBehind: (left: LeftBehind) => void,
  ) {
    this.#resources = { host, keyring, storage, providers, mappings, arrivals, audit, headers, logger };
  }

  /** The plan, with nothing changed. @throws the refusal that the guest's start would meet */
  async plan(guest: Guest, planner: Planner, manner: Manner = "stays"): Promise<Plan> {
    using session = new KeySession();
    return (await this.#plan(guest, { planner, manner }, session)).plan;
  }

  /** Plans and does it. @throws the first error, after everything was undone that may be undone */
  prepare(guest: Guest, planner: Planner, manner: Manner = "stays"): Promise<Plan> {
    return this.#andCopy(() => this.#prepare(guest, { planner, manner }));
  }

  async #prepare(guest: Guest, how: Preparing): Promise<Plan> {
    await this.locks.announceStart(guest);
    using session = new KeySession();
    const planned = await this.#plan(guest, how, session)
      .catch(unlessUnsettled)
      .catch((thrown: unknown) => this.#refused(guest, thrown));
    if (planned !== undefined && onlyOpens(planned.plan)) return await this.#do(planned, session);
    return await this.locks.hold(guest, async () => {
      // planned again, since whoever held the lock may have done it all
      const plan = this.#plan(guest, how, session);
      return await this.#do(await plan.catch((thrown: unknown) => this.#refused(guest, thrown)), session);
    });
  }

  /** An auditor wants to know of keys that somebody wanted to use, too. */
  async #refused({ id, name, disks }: Guest, thrown: unknown): Promise<never> {
    const uses = Object.values(disks.mapping).flatMap(({ dev: disk, encryption_secret_uuid: key }) =>
      key === undefined ? [] : [{ event: "provide" as const, guest: { id, name }, disk, key }],
    );
    await recordFailure(this.#resources.audit, uses, thrown);
    throw thrown;
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
      const plan = await this.#planReconnect(guest, session);
      const warn = (message: string) => this.logger.warn(message, { guest: guest.name });
      const resources = { ...this.#resources, audit: neverRefusing(this.#resources.audit, warn) };
      await execute(plan, new StepPerformer(guest, resources, session), this.logger);
      return plan;
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

  async #plan(named: Guest, { planner, manner }: Preparing, session: KeySession): Promise<Planned> {
    const requested = resolveRequests(named, this.settings);
    const asked = (await this.#resources.host.identified?.(named)) ?? named;
    const requests = await withFittingLegacy(asked, requested, this.#resources.storage);
    const ability = this.#abilityFor(asked);
    await refuseUnableRequests(asked, requests, ability);
    refuseUnannotated(asked, requests);
    await refuseUnableMappings(asked, ability);
    await refuseMappedElsewhere(asked, this.#resources.mappings.claims());
    const found = await gatherFacts(asked, requests, this.#resources, session);
    await refuseFormerCopies(asked, found, this.#resources.storage, session);
    const { guest, facts, copies } =
      manner === "stays"
        ? { guest: asked, facts: found, copies: [] }
        : await this.#withCopiedDisks(asked, found, requests, session);
    const planned = planner(guest, facts, copies);
    // one that migrates here may run here, under an id that its source gives it: its own start takes from it, not this
    const plan =
      manner === "arrives"
        ? planned
        : closingLeftovers(guest, planned, this.#resources.mappings.claims(guest.id));
    await refuseForbiddenFormats(guest, plan, this.#resources.storage);
    await refuseUnableFormats(guest, plan, ability);
    const foreign = this.#resources.host.identified === undefined ? [] : foreignKeysIn(guest, facts);
    return { guest, plan, copies: copiesIn(facts), keys: foundKeysIn(facts), foreign, facts };
  }

  /** Nothing of it is loaded for a guest that starts here. */
  async #withCopiedDisks(
    guest: Guest,
    facts: readonly DiskFacts[],
    requests: ReadonlyMap<string, EncryptionRequest>,
    session: KeySession,
  ): Promise<WithCopies> {
    const { withCopiedDisks } = await import("../migration/copied-disks.js");
    return await withCopiedDisks(
      guest,
      facts,
      { requests, settings: this.settings },
      this.#resources,
      session,
    );
  }

  /** Versions are asked with the guest, whose start must not wait long for a host manager that is starting itself. */
  #abilityFor(guest: Guest): NewDiskAbility {
    const { host, providers } = this.#resources;
    const versions = askedOnce(() => host.versions(guest));
    const { legacy, encryption } = this.settings;
    return { providers, versions, legacy, engine: encryption.engine };
  }

  async #do({ guest, plan, copies, keys, foreign, facts }: Planned, session: KeySession): Promise<Plan> {
    for (const copy of copies) warnOfCopy(guest, copy, this.logger);
    for (const key of foreign) warnOfForeign(guest, key, this.logger);
    warnOfPlain(guest, plan, this.logger);
    await recordUse(guest, keys, this.#resources);
    const done = await this.#execute(guest, plan, session, guest.arrives ? "keep" : "withdraw");
    this.#resources.host.prepared?.(guest);
    if (!guest.arrives) await this.#followUp(guest, facts, plan);
    return done;
  }

  /** What a start brings to light, and what it need not wait for. Never throws. */
  async #followUp(guest: Guest, facts: readonly DiskFacts[], plan: Plan): Promise<void> {
    if (this.#resources.host.identified === undefined) await noteKin(guest, facts, this.#resources);
    if (!wantsRecovery(facts, plan, this.settings)) return;
    this.leaveBehind({ command: "escrow add --policy", guest: guest.id });
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

/**
 * Every start but a disk's first one: nothing is changed that another process could change as well. What comes with its
 * memory alone notes that too.
 */
function onlyOpens({ stages }: Plan): boolean {
  return stages.flat().every((step) => {
    if (step.kind === "note-arrival") return step.copies.length === 0;
    return step.kind === "provide-secrets" || step.kind === "open-mapping";
  });
}
