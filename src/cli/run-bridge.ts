import { compose } from "../container.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import { writeAll } from "../fs/write-all.js";
import type { BridgeAnswer } from "../generated/bridge-answer.js";
import type { BridgeRequest } from "../generated/bridge-request.js";
import { loadManifest } from "../manifest/load.js";
import { loadSettings } from "../settings/load.js";
import { settingsPathOf } from "../settings/paths.js";
import { VolumeLocks } from "../storage/volume-lock.js";
import { AUDIT, HEADER_VAULT, CLOCK, COMMAND_RUNNER, KEYRING, LOGGER, SETTINGS, STORAGE } from "../tokens.js";
import { requireRoot } from "./open.js";
import { problemOf } from "../error/problem.js";
import { ProxmoxPlaces } from "../host/proxmox/places.js";
import { parseRequest } from "../host/proxmox/bridge/parse-request.js";
import { perform } from "../host/proxmox/bridge/perform.js";

const STDOUT = 1;
/** Milliseconds that Proxmox VE waits for a copy of a key to be written. */
const COPY_LIMIT = 2000;

/**
 * One request of the storage plugin, from exec to exit: answers on standard output, whatever happens. Resolves to the
 * exit code, with which the process ends at once. What is said on standard error besides is for nobody.
 */
export async function runBridge(input: () => Buffer): Promise<number> {
  try {
    requireRoot();
    loadManifest();
    return await answer(parseRequest(input().toString("utf8")));
  } catch (thrown) {
    return fail(thrown);
  }
}

async function answer(request: BridgeRequest): Promise<number> {
  const started = performance.now();
  const settings = loadSettings(settingsPathOf("proxmox"));
  const container = compose({ settings, host: "proxmox", humanLevel: "error", copies: "copy" });
  const [logger, keyring] = [container.resolve(LOGGER), container.resolve(KEYRING)];
  const runner = container.resolve(COMMAND_RUNNER);
  const warnings: string[] = [];
  const about = aboutOf(request);
  try {
    const result = await perform(request, {
      ...{ settings: container.resolve(SETTINGS), runner, keyring, places: new ProxmoxPlaces() },
      ...{ storage: container.resolve(STORAGE), clock: container.resolve(CLOCK) },
      audit: container.resolve(AUDIT),
      headers: container.resolve(HEADER_VAULT),
      locks: new VolumeLocks(runner),
      warn: (message) => {
        warnings.push(message);
        logger.warn(message, about);
      },
    });
    await keyring.settled(COPY_LIMIT);
    const durationMs = Math.round(performance.now() - started);
    const record = { ...about, durationMs };
    if (CHANGING.has(request.op)) logger.info(`bridge ${request.op} done`, record);
    else logger.debug(`bridge ${request.op} done`, record);
    print({ result: { ...result, ...(warnings.length === 0 ? {} : { warnings }) } });
    return 0;
  } catch (thrown) {
    const error = asLuksmithError(thrown);
    logger.error(`bridge ${request.op} failed`, { ...about, error });
    return fail(error);
  } finally {
    await logger.close();
  }
}

/** What belongs into the log: the others happen too often. */
const CHANGING: ReadonlySet<BridgeRequest["op"]> = new Set([
  ...(["create", "free", "resize", "rename", "template", "clone"] as const),
  ...(["snapshot", "rollback", "delete-snapshot", "record-storage", "forget-storage"] as const),
]);

function aboutOf(request: BridgeRequest): { readonly guest?: string; readonly disk?: string } {
  const guest = "vmid" in request ? { guest: String(request.vmid) } : {};
  return "volume" in request ? { ...guest, disk: `${request.storage.id}:${request.volume}` } : guest;
}

function fail(thrown: unknown): number {
  const error = asLuksmithError(thrown);
  print({ error: problemOf(error) });
  return error.exitCode;
}

function print(value: BridgeAnswer): void {
  writeAll(STDOUT, `${JSON.stringify(value)}\n`);
}
