import type { Container } from "../di.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import { findTool, packageOf, type Tool } from "../exec/tools.js";
import { shellWord } from "../error/shell-word.js";
import { unusableHook } from "../manifest/hook-files.js";
import { loadManifest } from "../manifest/load.js";
import { changeableByOthers } from "../manifest/ownership.js";
import type { DoctorOutput } from "../generated/doctor.js";
import type { HostAdapter } from "../host/host-adapter.js";
import { tryCopies } from "../keystore/cache/trial.js";
import { canList, type Keystore } from "../keystore/keystore.js";
import { openMemoryFile } from "../secret/secret-file.js";
import { COMMAND_RUNNER, HOST, KEYRING, SETTINGS } from "../tokens.js";
import { checkAbilities, checkDmCrypt, checkLegacy, checkVersions } from "./doctor-engines.js";
import { checkArrivals, checkLeftovers, checkReaper } from "./doctor-leftovers.js";
import { checkSavedMemory } from "./doctor-saved-memory.js";
import { checkSharedKeys } from "./doctor-shared-keys.js";
import { describeTrial, tryKeystore } from "./try-keystore.js";

export type Check = DoctorOutput["checks"][number];

const NEEDED: readonly Tool[] = ["cryptsetup", "qemu-img", "qemu-io", "flock", "blkid", "cp"];

/** Besides these, by the host manager. */
const NEEDED_BY_HOST: Readonly<Record<HostAdapter["type"], readonly Tool[]>> = {
  libvirt: ["virsh"],
  proxmox: ["qm", "qemu-storage-daemon", "umount"],
};

/** In the order in which a person should read them. */
export const CHECKS: readonly ((container: Container) => Promise<Check[]>)[] = [
  (container) => Promise.resolve([...NEEDED, ...NEEDED_BY_HOST[container.resolve(HOST).type]].map(checkTool)),
  () => guarded("tmpfs for secrets", checkTmpfs),
  () => guarded("luksmith's files", checkFiles),
  () => guarded("luksmith's hooks", checkHookFiles),
  (container) => guarded("versions", () => checkVersions(container)),
  (container) => guarded("dm-crypt", () => checkDmCrypt(container)),
  (container) => guarded("legacy", () => Promise.resolve(checkLegacy(container))),
  (container) => guarded("guests", () => checkAbilities(container)),
  (container) => guarded("hook", () => checkHook(container)),
  (container) => guarded("host", () => checkHost(container)),
  checkKeystores,
  (container) => guarded("cache", () => checkCache(container)),
  (container) => guarded("reaper", () => checkReaper(container)),
  (container) => guarded("host secrets", () => checkLeftovers(container)),
  (container) => guarded("migrated guests", () => checkArrivals(container)),
  (container) => guarded("saved memory", () => checkSavedMemory(container)),
  (container) => guarded("keys of guests", () => checkGuests(container)),
  (container) => guarded("volumes with one key", () => checkSharedKeys(container)),
];

/** A check that throws has failed, with the error's own words. */
async function guarded(
  name: string,
  check: () => Promise<Check | Check[]> | Check | Check[],
): Promise<Check[]> {
  try {
    return [await check()].flat();
  } catch (thrown) {
    const { message, why, hint } = asLuksmithError(thrown);
    const detail = why === undefined ? message : `${message} (${why})`;
    return [{ name, result: "failed", detail, ...(hint === undefined ? {} : { hint }) }];
  }
}

function checkHost(container: Container): Check[] {
  return container.resolve(HOST).checks?.(container.resolve(SETTINGS)) ?? [];
}

function checkTool(tool: Tool): Check {
  const path = findTool(tool);
  if (path !== undefined) return { name: tool, result: "ok", detail: path };
  return { name: tool, result: "failed", detail: "not found", hint: `apt-get install ${packageOf(tool)}` };
}

function checkTmpfs(): Check {
  openMemoryFile()[Symbol.dispose]();
  return { name: "tmpfs for secrets", result: "ok", detail: "can be written" };
}

function checkFiles(): Check {
  const name = "luksmith's files";
  const path = changeableByOthers();
  if (path === undefined) return { name, result: "ok", detail: "only root can change them" };
  return {
    name,
    result: "failed",
    detail: `${path} can be changed by others than root, who runs what is in it at every start of a guest`,
    hint: `chown root: ${shellWord(path)} && chmod go-w ${shellWord(path)}`,
  };
}

function checkHookFiles(): Check {
  const name = "luksmith's hooks";
  const unusable = unusableHook(loadManifest());
  if (unusable === undefined) return { name, result: "ok", detail: "are of this version" };
  const { path, why } = unusable;
  const hint = "install luksmith again";
  return { name, result: "failed", detail: `${path} ${why}: guests do not start, or start unchecked`, hint };
}

async function checkHook(container: Container): Promise<Check> {
  const host = container.resolve(HOST);
  const { kind, path } = await host.registration();
  const hint = `luksmith install --host ${host.type}`;
  switch (kind) {
    case "registered":
      return { name: "hook", result: "ok", detail: `registered at ${path}` };
    case "outdated":
      return { name: "hook", result: "warning", detail: `${path} is of another version`, hint };
    case "foreign":
      return {
        name: "hook",
        result: "failed",
        detail: `${path} is not ours`,
        hint: `move it away, then: ${hint}`,
      };
    case "absent":
      return {
        name: "hook",
        result: "failed",
        detail: `${path} does not exist: encrypted guests do not start, and rules are not enforced`,
        hint,
      };
  }
}

async function checkKeystores(container: Container): Promise<Check[]> {
  const keyring = container.resolve(KEYRING);
  const checks = container
    .resolve(SETTINGS)
    .keystores.map(({ name }) =>
      guarded(`keystore ${name}`, async () => checkKeystore(await keyring.get(name), container)),
    );
  return (await Promise.all(checks)).flat();
}

async function checkKeystore(keystore: Keystore, container: Container): Promise<Check> {
  const name = `keystore ${keystore.name}`;
  // a keystore that was lost would be made anew by the test, and hide the loss
  const isEmpty = canList(keystore) && (await keystore.list()).length === 0;
  const orphans = isEmpty ? await disksWithoutKey(container) : [];
  if (orphans.length > 0) {
    return {
      name,
      result: "failed",
      detail: `it has no keys, and ${orphans.length} of the guests' disks need one`,
      hint: "restore it from its backup before any guest starts; it was left as it is",
    };
  }
  const trial = await tryKeystore(() => Promise.resolve(keystore));
  if (trial.error !== undefined) throw trial.error.within(`${describeTrial(trial)}, then`);
  return { name, result: "ok", detail: describeTrial(trial) };
}

/** Nothing is said of a host that has no copies. */
async function checkCache(container: Container): Promise<Check[]> {
  const name = "cache";
  const trial = await tryCopies(container.resolve(SETTINGS), container.resolve(COMMAND_RUNNER));
  if (trial === undefined) return [];
  const { usable, unusable, reasons } = trial;
  if (unusable === 0) return [{ name, result: "ok", detail: `${usable} copies of keys open` }];
  const detail = `${unusable} of ${usable + unusable} copies of keys do not open: ${reasons.join("; ")}`;
  return [{ name, result: "warning", detail, hint: "luksmith cache clear, then luksmith cache refresh" }];
}

async function checkGuests(container: Container): Promise<Check> {
  const name = "keys of guests";
  const missing = await disksWithoutKey(container);
  if (missing.length === 0) return { name, result: "ok", detail: "every disk's key is in a keystore" };
  return {
    name,
    result: "warning",
    detail: `no keystore has the key of ${missing.join(", ")}`,
    hint: "restore the keystore from its backup; all is well only if another tool wrote these encryption blocks",
  };
}

/** Disks with an encryption block whose key no keystore has, in words. @throws if a keystore cannot be asked */
async function disksWithoutKey(container: Container): Promise<string[]> {
  const host = container.resolve(HOST);
  const keyring = container.resolve(KEYRING);
  const missing: string[] = [];
  for (const { id } of await host.listGuests()) {
    const guest = await host.readGuest(id).catch(notPersistent);
    for (const { dev, encryption_secret_uuid: uuid } of Object.values(guest?.disks.mapping ?? {})) {
      const located = uuid && (await keyring.locate(uuid));
      if (located?.kind === "found") located.key.passphrase.dispose();
      // a keystore that cannot be asked has lost nothing
      else if (located?.kind === "unavailable") throw located.error;
      else if (located !== undefined) missing.push(`disk ${dev} of ${guest?.name ?? id} (key ${uuid ?? ""})`);
    }
  }
  return missing;
}

function notPersistent(thrown: unknown): undefined {
  if (asLuksmithError(thrown).code !== "GUEST_NOT_FOUND") throw thrown;
}
