import { Command } from "commander";
import type { Container } from "../di.js";
import { EXIT } from "../error/catalogue.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import { findTool, packageOf, type Tool } from "../exec/tools.js";
import type { DoctorOutput } from "../generated/doctor.js";
import validate from "../generated/validate-doctor.cjs";
import { canTest } from "../keystore/keystore.js";
import { openMemoryFile } from "../secret/secret-file.js";
import { HOST, KEYRING, PROVIDER } from "../tokens.js";
import { open } from "./open.js";
import { print, printJson } from "./output.js";

type Check = DoctorOutput["checks"][number];

const NEEDED: readonly Tool[] = ["cryptsetup", "qemu-img", "virsh", "flock", "blkid"];

export function doctorCommand(): Command {
  return new Command("doctor")
    .summary("find out what is wrong with this host")
    .option("--json", "for machines")
    .action(async ({ json }: { json?: true }) => {
      const container = open();
      const checks = (await Promise.all(CHECKS.map((check) => check(container)))).flat();
      const ok = checks.every(({ result }) => result !== "failed");
      if (json) printJson(validate, { ok, checks } satisfies DoctorOutput);
      else checks.forEach(show);
      if (!ok) process.exitCode = EXIT.failure;
    });
}

function show({ name, result, detail, hint }: Check): void {
  print(`${result}: ${name}: ${detail}`);
  if (hint !== undefined) print(`hint: ${hint}`);
}

const CHECKS: readonly ((container: Container) => Promise<Check[]>)[] = [
  () => Promise.resolve(NEEDED.map(checkTool)),
  () => guarded("tmpfs for secrets", checkTmpfs),
  (container) => guarded("versions", () => checkVersions(container)),
  (container) => guarded("hook", () => checkHook(container)),
  checkKeystores,
  (container) => guarded("host secrets", () => checkSecrets(container)),
  (container) => guarded("keys of guests", () => checkGuests(container)),
];

/** A check that throws has failed, with the error's own words. */
async function guarded(name: string, check: () => Promise<Check> | Check): Promise<Check[]> {
  try {
    return [await check()];
  } catch (thrown) {
    const { message, why, hint } = asLuksmithError(thrown);
    const detail = why === undefined ? message : `${message} (${why})`;
    return [{ name, result: "failed", detail, ...(hint === undefined ? {} : { hint }) }];
  }
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

async function checkVersions(container: Container): Promise<Check> {
  const { qemu, libvirt } = await container.resolve(HOST).versions();
  const traits = container.resolve(PROVIDER).traits({ qemu, libvirt });
  const detail = `QEMU ${qemu}, libvirt ${libvirt ?? "none"}`;
  if (traits.length > 0) return { name: "versions", result: "ok", detail };
  return {
    name: "versions",
    result: "failed",
    detail: `${detail}: too old to open LUKS volumes natively`,
    hint: "native LUKS needs QEMU 2.6 and libvirt 2.2.0",
  };
}

async function checkHook(container: Container): Promise<Check> {
  const host = container.resolve(HOST);
  const registration = await host.registration();
  const { kind, path } = registration;
  const hint = `luksmith install --host ${host.type}`;
  switch (registration.kind) {
    case "registered":
      if (registration.reload === undefined)
        return { name: "hook", result: "ok", detail: `registered at ${path}` };
      return {
        name: "hook",
        result: "warning",
        detail: `registered at ${path}, after libvirt was started: unless it has reloaded since, guests start without luksmith`,
        hint: registration.reload,
      };
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
  const checks = container
    .resolve(KEYRING)
    .all()
    .map((keystore) =>
      guarded(`keystore ${keystore.name}`, async () => {
        if (canTest(keystore)) await keystore.test();
        return {
          name: `keystore ${keystore.name}`,
          result: "ok",
          detail: "a key was stored, fetched and deleted",
        };
      }),
    );
  return (await Promise.all(checks)).flat();
}

/** A keystore that was lost and made anew passes its own test; the guests tell that their keys are gone. */
async function checkGuests(container: Container): Promise<Check> {
  const name = "keys of guests";
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
  if (missing.length === 0) return { name, result: "ok", detail: "every disk's key is in a keystore" };
  return {
    name,
    result: "warning",
    detail: `no keystore has the key of ${missing.join(", ")}`,
    hint: "restore the keystore from its backup; a block that luksmith did not write has its secret elsewhere",
  };
}

function notPersistent(thrown: unknown): undefined {
  if (asLuksmithError(thrown).code !== "GUEST_NOT_FOUND") throw thrown;
}

async function checkSecrets(container: Container): Promise<Check> {
  const host = container.resolve(HOST);
  const [provided, guests] = await Promise.all([host.providedSecrets(), host.listGuests()]);
  const running = new Set(guests.filter((guest) => guest.running).map((guest) => guest.id));
  const orphans = provided.filter(({ guestId }) => !running.has(guestId));
  if (orphans.length === 0)
    return { name: "host secrets", result: "ok", detail: `${provided.length} in use, none orphaned` };
  return {
    name: "host secrets",
    result: "warning",
    detail: `${orphans.length} belong to no running guest: ${orphans.map(({ uuid }) => uuid).join(", ")}`,
    hint: orphans.map(({ uuid }) => `virsh secret-undefine ${uuid}`).join("; "),
  };
}
