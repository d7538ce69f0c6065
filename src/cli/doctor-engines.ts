import type { Container } from "../di.js";
import { type Offer, offersOf } from "../encryption/offers.js";
import { askedOnce } from "../encryption/versions.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import type { DoctorOutput } from "../generated/doctor.js";
import type { Guest } from "../host/host-adapter.js";
import type { EffectiveSettings } from "../settings/settings.js";
import { HOST, PROVIDERS, SETTINGS } from "../tokens.js";
import { abilityHere } from "./capabilities-for.js";

type Check = DoctorOutput["checks"][number];

/** Whether somebody here can decrypt new disks. */
export async function checkVersions(container: Container): Promise<Check> {
  const name = "versions";
  const host = container.resolve(HOST);
  const { qemu, libvirt } = await host.versions();
  const detail = `QEMU ${qemu}${host.type === "libvirt" ? `, libvirt ${libvirt ?? "none"}` : ""}`;
  const offers = await offersOf(
    container.resolve(PROVIDERS),
    () => Promise.resolve({ qemu, libvirt }),
    container.resolve(SETTINGS),
  );
  const reasons = reasonsIn(offers.filter(({ provider }) => provider === "native"));
  if (reasons.length === 0) return { name, result: "ok", detail };
  const others = offers.filter(({ provider, offered }) => provider === "dm-crypt" && offered);
  const why = `${detail}: QEMU does not decrypt new disks (${reasons.join("; ")})`;
  if (others.length > 0) return { name, result: "ok", detail: `${why}, dm-crypt does` };
  return { name, result: "failed", detail: why, hint: "see: luksmith capabilities" };
}

/** Says nothing of a host where nobody wants dm-crypt. */
export async function checkDmCrypt(container: Container): Promise<Check[]> {
  const name = "dm-crypt";
  const settings = container.resolve(SETTINGS);
  const wanted = [...wantedBy(settings), ...(await guestsWithMappings(container))];
  if (wanted.length === 0) return [];
  const versions = askedOnce(() => container.resolve(HOST).versions());
  // whether it is there, whatever the settings prefer for new disks
  const anyEngine = { encryption: { engine: "auto" }, legacy: settings.legacy } as const;
  const offers = await offersOf(container.resolve(PROVIDERS), versions, anyEngine);
  const luks = offers.filter(({ provider, format }) => provider === "dm-crypt" && format !== "plain");
  const reasons = reasonsIn(luks);
  const detail = `needed for ${wanted.join(", ")}`;
  if (reasons.length === 0) return [{ name, result: "ok", detail }];
  return [
    {
      name,
      result: "failed",
      detail: `${detail}, and not there: ${reasons.join("; ")}`,
      hint: "see: luksmith capabilities",
    },
  ];
}

export function checkLegacy(container: Container): Check[] {
  if (!container.resolve(SETTINGS).legacy.enabled) return [];
  return [
    {
      name: "legacy",
      result: "warning",
      detail: "legacy.enabled is set: disks are encrypted as plain dm-crypt, which is deprecated",
      hint: "convert such disks with luksmith convert, then unset it",
    },
  ];
}

/** A guest that could not run here for want of what it needs; keys are another check's matter. */
export async function checkAbilities(container: Container): Promise<Check> {
  const name = "guests";
  const guests = await persistentGuests(container);
  const unable: string[] = [];
  let hint = "see: luksmith capabilities --for GUEST";
  for (const guest of guests) {
    const { problems } = await abilityHere(container, guest, "no keys");
    const [first] = problems.filter(({ code }) => code !== "HOOK_NOT_INSTALLED");
    if (first === undefined) continue;
    // Proxmox VE moves a disk to be encrypted, with the command of the refusal
    if (guest.encryptedStorages !== undefined && first.hint !== undefined && unable.length === 0)
      hint = `${printable(guest.name)}: ${first.hint}; of any guest: luksmith status VMID`;
    unable.push(`${printable(guest.name)} (${first.message})`);
  }
  if (unable.length === 0)
    return { name, result: "ok", detail: `${guests.length} defined, each can run here` };
  return {
    name,
    result: "warning",
    detail: `cannot run here: ${unable.join("; ")}`,
    hint,
  };
}

function wantedBy({ encryption, profiles, legacy }: EffectiveSettings): string[] {
  return [
    ...(encryption.engine === "dm-crypt" ? ["encryption.engine dm-crypt"] : []),
    ...profiles
      .filter(({ format }) => format === "luksv2")
      .map((profile) => `profile ${profile.name} (luksv2)`),
    ...(legacy.enabled ? ["legacy.enabled"] : []),
  ];
}

async function guestsWithMappings(container: Container): Promise<string[]> {
  const guests = await persistentGuests(container);
  return guests.flatMap(({ name, disks }) => {
    const mapped = Object.values(disks.mapping).filter(({ mapping }) => mapping !== undefined);
    return mapped.length === 0 ? [] : `guest ${name} (${mapped.map(({ dev }) => dev).join(", ")})`;
  });
}

async function persistentGuests(container: Container): Promise<Guest[]> {
  const host = container.resolve(HOST);
  const guests: Guest[] = [];
  for (const { id, elsewhere } of await host.listGuests()) {
    if (elsewhere) continue;
    const guest = await host.readGuest(id).catch((thrown: unknown) => {
      // transient, or gone meanwhile
      if (asLuksmithError(thrown).code !== "GUEST_NOT_FOUND") throw thrown;
    });
    if (guest) guests.push(guest);
  }
  return guests;
}

function reasonsIn(offers: readonly Offer[]): string[] {
  return [...new Set(offers.flatMap(({ reasons }) => reasons))];
}
