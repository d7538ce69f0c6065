import type { AuditLog, KeyEvent } from "../audit/audit-log.js";
import { type PlannedUse, recorded, useOfRecord } from "../audit/recorded.js";
import type { Mappings } from "../encryption/encryption-provider.js";
import type { EncryptionProviders } from "../encryption/encryption-providers.js";
import type { LuksHeader } from "../encryption/luks-header.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { visible } from "../error/printable.js";
import type { HeaderVault } from "../headers/header-vault.js";
import { keepMade } from "../headers/keep-made.js";
import type { Guest, HostAdapter } from "../host/host-adapter.js";
import { keyUuidOf } from "../keystore/key-record.js";
import { canDelete, type Keystore } from "../keystore/keystore.js";
import type { Keyring } from "../keystore/keyring.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Logger } from "../log/logger.js";
import type { Arrivals } from "../migration/arrivals.js";
import type { StorageRegistry } from "../storage/index.js";
import type { StorageBackend } from "../storage/storage-backend.js";
import { type Volume, volumeName } from "../storage/volume.js";
import { annotationsOf } from "./annotation.js";
import { cannotStart } from "./cannot-start.js";
import type { Performer, Undo } from "./execute.js";
import type { KeySession } from "./key-session.js";
import type { DiskKey, Step } from "./step.js";

export interface Resources {
  readonly host: HostAdapter;
  readonly keyring: Keyring;
  readonly storage: StorageRegistry;
  readonly providers: EncryptionProviders;
  readonly mappings: Mappings;
  readonly arrivals: Arrivals;
  readonly audit: AuditLog;
  readonly headers: Pick<HeaderVault, "keep">;
  readonly logger: Logger;
}

type StepOf<Kind extends Step["kind"]> = Extract<Step, { kind: Kind }>;

/** Does the steps of one guest's plan with real keystores, volumes and host. */
export class StepPerformer implements Performer {
  #guest: Guest;
  readonly #resources: Resources;
  readonly #session: KeySession;
  /** Keys that encrypt by now, or that others may find and use: from then on they are never deleted. */
  readonly #inUse = new Set<KeyUuid>();

  /** @param others what becomes of host secrets that the guest has besides those that are provided */
  constructor(
    guest: Guest,
    resources: Resources,
    session: KeySession,
    private readonly others: "withdraw" | "keep" = "keep",
  ) {
    this.#guest = guest;
    this.#resources = resources;
    this.#session = session;
  }

  async perform(step: Step): Promise<Undo | undefined> {
    switch (step.kind) {
      case "store-key":
        return this.#storeKey(step);
      case "format":
        return this.#format(step);
      case "activate-key":
        return this.#activateKey(step);
      case "annotate":
        return this.#annotate(step);
      case "grow":
        return this.#grow(step);
      case "provide-secrets":
        return this.#provideSecrets(step);
      case "withdraw-secrets":
        await this.#withdraw(step.secrets);
        return undefined;
      case "open-mapping":
        return this.#openMapping(step);
      case "close-mapping":
        await this.#closeMapping(step.disk, step.mapping, step.ifBusy);
        return undefined;
      case "add-disk":
        return this.#addDisk(step);
      case "remove-disk":
        await this.#resources.host.removeDisk(this.#guest, step.disk);
        return undefined;
      case "attach-disk":
        return this.#attachDisk(step);
      case "detach-disk":
        await this.#resources.host.detachDisk(this.#guest, step.disk);
        return undefined;
      case "note-arrival":
        return this.#noteArrival(step);
      case "answer-configuration":
        this.#resources.host.migration.answer(this.#guest);
        return undefined;
    }
  }

  async #storeKey({ keystore: name, record }: StepOf<"store-key">): Promise<Undo | undefined> {
    const keystore = await this.#resources.keyring.get(name);
    const uuid = keyUuidOf(record);
    return recorded(this.#resources.audit, [useOfRecord("store", record, name)], async () => {
      await keystore.store({ record, passphrase: this.#session.create(uuid) });
      return this.#undoStore(keystore, uuid);
    });
  }

  #undoStore(keystore: Keystore, uuid: KeyUuid): Undo | undefined {
    if (!canDelete(keystore)) return undefined;
    return async () => {
      if (this.#inUse.has(uuid)) return;
      // fetch and delete are two steps, and no volume gets a header under this passphrase between them: only the
      // record's guest may format with a pending key, under its lock, which whoever performs this plan holds
      const stored = await keystore.fetch(uuid);
      stored?.passphrase.dispose();
      if (stored?.record.state === "pending") await keystore.delete(uuid);
    };
  }

  async #format({ volume, record, provider: by }: StepOf<"format">): Promise<undefined> {
    const { storage, providers } = this.#resources;
    const provider = providers.get(by ?? "native", record.encryption.format);
    const uuid = keyUuidOf(record);
    const backend = await storage.formattingBackendFor(volume);
    const passphrase = this.#session.passphrase(uuid);
    this.#inUse.add(uuid);
    await recorded(this.#resources.audit, [useOfRecord("format", record)], async () => {
      await provider.format(backend, { volume, uuid, spec: record.encryption, passphrase });
      return undefined;
    });
    const { headers, logger } = this.#resources;
    if (record.encryption.format !== "plain") {
      await keepMade({ backend, volume, uuid }, headers, (message, error) => logger.warn(message, { error }));
    }
  }

  async #activateKey({ keystore, record }: StepOf<"activate-key">): Promise<undefined> {
    const { keyring } = this.#resources;
    await recorded(this.#resources.audit, [useOfRecord("activate", record, keystore)], async () => {
      const { volume } = record;
      const of = await keyring.get(keystore);
      await of.change(keyUuidOf(record), (now) => ({ ...now, volume, state: "active" }));
      return undefined;
    });
  }

  async #annotate({ blocks, replaced = [] }: StepOf<"annotate">): Promise<Undo> {
    const { host } = this.#resources;
    const [added, removed] = [annotationsOf(blocks), annotationsOf(replaced)];
    // the guest may be started as soon as its configuration names the keys, and the hook formats with them
    for (const { uuid } of blocks) this.#inUse.add(uuid);
    try {
      await host.annotate(this.#guest, added, removed);
    } catch (thrown) {
      if (isGuestChanged(thrown)) for (const { uuid } of blocks) this.#inUse.delete(uuid);
      throw thrown;
    }
    return () => host.unannotate(this.#guest, added, removed);
  }

  /** Never undone: the guest may have seen the new size, and written there. */
  async #grow({ disk, volume, uuid, guest, mapping, to }: StepOf<"grow">): Promise<undefined> {
    const { storage, host, mappings } = this.#resources;
    const backend = await storage.backendFor(volume);
    const header = await headerOf(backend, volume, uuid);
    const passphrase = this.#session.passphrase(uuid);
    // QEMU enlarges an image file that it has open itself, which is not the one under a mapping
    const opener = mapping === undefined ? guest : "stopped";
    const size = await backend.grow({ volume, header, guestSize: BigInt(to), passphrase, guest: opener });
    if (mapping !== undefined) await mappings.resize(mapping, passphrase);
    if (guest === "running") await host.resizeDisk(this.#guest, disk, size);
  }

  async #provideSecrets({ secrets }: StepOf<"provide-secrets">): Promise<Undo> {
    return recorded(this.#resources.audit, this.#usesOf("provide", secrets), async () => {
      await this.#resources.host.provideSecrets(
        this.#guest,
        secrets.map((key) => ({ ...key, passphrase: this.#session.passphrase(key.uuid) })),
        this.others,
      );
      return () => this.#withdraw(secrets);
    });
  }

  async #openMapping({ disk, uuid, mapping, volume, encryption }: StepOf<"open-mapping">): Promise<Undo> {
    const { id, name } = this.#guest;
    return recorded(this.#resources.audit, this.#usesOf("open", [{ disk, uuid }]), async () => {
      await this.#resources.mappings.open(
        { name: mapping, volume, uuid, spec: encryption, guest: { id, name }, disk },
        this.#session.passphrase(uuid),
      );
      return () => this.#closeMapping(disk, mapping);
    });
  }

  async #attachDisk({ disk }: StepOf<"attach-disk">): Promise<Undo> {
    const { host, audit } = this.#resources;
    const uuid = this.#guest.disks.mapping[disk]?.encryption_secret_uuid;
    const uses = uuid === undefined ? [] : this.#usesOf("attach", [{ disk, uuid }]);
    return recorded(audit, uses, async () => {
      await host.attachDisk(this.#guest, disk);
      return () => host.detachDisk(this.#guest, disk);
    });
  }

  #usesOf(event: KeyEvent, keys: readonly DiskKey[]): PlannedUse[] {
    const { id, name, disks } = this.#guest;
    return keys.map(({ disk, uuid }) => {
      const volume = disks.mapping[disk]?.volume;
      const of = { guest: { id, name }, disk, ...(volume && { volume: volumeName(volume) }), key: uuid };
      return { event, ...of, ...this.#session.givenBy(uuid) };
    });
  }

  async #closeMapping(disk: string, mapping: string, ifBusy: "refuse" | "leave" = "leave"): Promise<void> {
    const closed = await this.#resources.mappings.close(mapping, this.#guest);
    if (closed.kind === "closed") return;
    if (ifBusy === "refuse") throw leftOpen(this.#guest, disk, mapping);
    const why = closed.why ?? "somebody has it open";
    this.#resources.logger.warn(...stillOpen(this.#guest, disk, mapping, why));
  }

  async #addDisk({ disk: dev, volume, bus }: StepOf<"add-disk">): Promise<Undo> {
    const { host } = this.#resources;
    await host.addDisk(this.#guest, { dev, volume, ...(bus && { bus }) });
    // what is annotated next is the configuration with the new disk
    this.#guest = await host.readGuest(this.#guest.id);
    return () => host.removeDisk(this.#guest, dev);
  }

  #noteArrival({ copies }: StepOf<"note-arrival">): Undo {
    const { arrivals } = this.#resources;
    const { id, name } = this.#guest;
    const earlier = arrivals.find({ id });
    const { nonce } = arrivals.note({ guest: { id, name }, copies });
    return async () => {
      // what an attempt that was killed has made is still there
      if (earlier === undefined || earlier === "damaged") arrivals.forget({ id }, nonce);
      else arrivals.restore(earlier);
      await Promise.resolve();
    };
  }

  #withdraw(secrets: readonly DiskKey[]): Promise<void> {
    return this.#resources.host.withdrawSecrets(
      this.#guest,
      secrets.map(({ uuid }) => uuid),
    );
  }
}

/** @throws LUKS_UUID_MISMATCH if it is not there any more, as it was when the step was planned */
async function headerOf(backend: StorageBackend, volume: Volume, uuid: KeyUuid): Promise<LuksHeader> {
  const probe = await backend.probe(volume, "header");
  if (probe.kind === "luks" && probe.header.uuid === uuid) return probe.header;
  throw new LuksmithError("LUKS_UUID_MISMATCH", {
    what: `volume ${volumeName(volume)} has lost the LUKS header of key ${uuid}`,
    why: "it had it a moment ago",
    hint: "see what else uses this volume; nothing was changed",
  });
}

function leftOpen(guest: Guest, disk: string, mapping: string): LuksmithError {
  return new LuksmithError("MAPPING_BUSY", {
    what: `${cannotStart(guest)}: disk ${disk} is still open from an earlier start`,
    why: `somebody has /dev/mapper/${mapping} open; if it is a QEMU that was lost, two would write to the volume`,
    hint: `see what it is: lsof /dev/mapper/${mapping}`,
  });
}

function stillOpen(
  { name: guest }: Guest,
  disk: string,
  mapping: string,
  why: string,
): Parameters<Logger["warn"]> {
  const text = `mapping ${mapping} of disk ${disk} of guest ${guest} is not closed: ${why}; luksmith reap closes it as soon as that ends`;
  return [visible(text), { guest, disk }];
}

/** The one failure that says that the configuration was not touched. */
function isGuestChanged(thrown: unknown): boolean {
  return thrown instanceof LuksmithError && thrown.code === "GUEST_CHANGED";
}
