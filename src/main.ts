import { readFileSync } from "node:fs";
import { compose } from "./container.js";
import { asLuksmithError, renderError } from "./error/luksmith-error.js";
import { dispatch } from "./event/dispatch.js";
import type { EventName, LifecycleEvent } from "./host/host-adapter.js";
import { parseHostType } from "./host/index.js";
import { loadManifest } from "./manifest/load.js";
import { loadSettings } from "./settings/load.js";
import { HOST, LOGGER } from "./tokens.js";

/**
 * One hook, from exec to exit. argv: the host manager's name, then what the host manager gave its hook; stdin: what
 * it gave on stdin. Resolves to the exit code; 0 lets the host manager go on. Writes nothing on stdout, which
 * libvirt would take for a changed configuration.
 */
export async function runHook(event: EventName, argv: readonly string[] = process.argv.slice(2)): Promise<number> {
  const started = performance.now();
  try {
    loadManifest();
    const [hostName, ...hookArguments] = argv;
    const host = parseHostType(hostName);
    const container = compose({ settings: loadSettings(), host, humanLevel: "warn" });
    const logger = container.resolve(LOGGER);
    const input = { event, argv: hookArguments, stdin: readFileSync(0, "utf8") };
    let lifecycleEvent: LifecycleEvent | undefined;
    try {
      lifecycleEvent = container.resolve(HOST).parseEvent(input);
      const { guest, cause } = lifecycleEvent;
      const plan = await dispatch(container, lifecycleEvent, "handle");
      const steps = plan.stages.flat().map((step) => step.kind);
      const durationMs = Math.round(performance.now() - started);
      logger.info(`${event} done`, { guest: guest.name, event, cause, steps, durationMs });
      return 0;
    } catch (thrown) {
      const error = asLuksmithError(thrown);
      const { guest, cause } = lifecycleEvent ?? {};
      logger.error(`${event} failed`, { event, error, ...(guest && { guest: guest.name }), ...(cause && { cause }) });
      return error.exitCode;
    } finally {
      await logger.close();
    }
  } catch (thrown) {
    // before there is a logger: manifest, settings
    const error = asLuksmithError(thrown);
    process.stderr.write(`${renderError(error)}\n`);
    return error.exitCode;
  }
}
