import type { MigrationAnswer } from "../../src/generated/migration-answer.js";
import { annotateDomain } from "../../src/guest-config/annotations.js";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import type { GuestMigration, Incoming, Opened, Whereabouts } from "../../src/host/guest-migration.js";
import type { Annotations, Guest } from "../../src/host/host-adapter.js";

/** A host manager to which guests migrate, of which the test says what it sees. */
export class FakeGuestMigration implements GuestMigration {
  /** What the host manager was told to go on with. */
  readonly answers: Guest[] = [];
  /** Host secrets that others have provided. */
  readonly foreignSecrets = new Set<string>();
  comes: Incoming["brings"] = "memory";
  readonly opened = new Map<string, Opened>();
  where: Whereabouts = "running";
  shutOff = false;
  defined = false;
  answerOfTarget: MigrationAnswer | undefined;

  /** @param provided UUIDs of the host secrets that Luksmith has provided */
  constructor(private readonly provided: () => readonly string[] = () => []) {}

  annotated(guest: Guest, annotations: Annotations, replaced: Annotations): Promise<Guest> {
    const here = guestFromDomainXml(annotateDomain(guest.configuration, annotations, replaced));
    return Promise.resolve({ ...guest, ...here });
  }

  answer(guest: Guest): void {
    this.answers.push(guest);
  }

  incoming(): Promise<Incoming> {
    return Promise.resolve({ brings: this.comes, opened: this.opened });
  }

  isShutOff(): boolean {
    return this.shutOff;
  }

  isDefined(): boolean {
    return this.defined;
  }

  secretUuids(): Promise<ReadonlySet<string>> {
    return Promise.resolve(new Set([...this.foreignSecrets, ...this.provided()]));
  }

  whereabouts(): Promise<Whereabouts> {
    return Promise.resolve(this.where);
  }

  ask(): Promise<MigrationAnswer | undefined> {
    return Promise.resolve(this.answerOfTarget);
  }
}
