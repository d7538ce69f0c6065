import { readFileSync } from "node:fs";
import { compose } from "./container.js";
import type { Container } from "./di.js";
import { EXIT } from "./error/catalogue.js";
import { asLuksmithError, type LuksmithError, renderError } from "./error/luksmith-error.js";
import { dispatch } from "./event/dispatch.js";
import { writeAll } from "./fs/write-all.js";
import { CHECK_ANSWER } from "./host/guest-migration.js";
import type { EventName, LifecycleEvent } from "./host/host-adapter.js";
import { type KnownHost, parseHostType } from "./host/index.js";
import type { Logger } from "./log/logger.js";
import { loadManifest } from "./manifest/load.js";
import { loadSettings, parseSettings } from "./settings/load.js";
import { settingsPathOf } from "./settings/paths.js";
import type { EffectiveSettings } from "./settings/settings.js";
import { HOST, LOGGER } from "./tokens.js";

const STDERR = 2;

/**
 * One hook, from exec to exit. argv: the host manager's name, then what the host manager gave its hook; stdin: what
 * it gave on stdin. Resolves to the exit code, with which the hook exits at once: the host manager waits for it, and a
 * look into DNS, which nobody can abort, would go on. 0 lets the host manager go on. Writes nothing on stdout, which
 * libvirt takes for a changed configuration, except by the host adapter's `confirm`.
 */
export async function runHook(
  event: EventName,
  argv: readonly string[] = process.argv.slice(2),
): Promise<number> {
  const started = performance.now();
  try {
    loadManifest();
    const [hostName, ...hookArguments] = argv;
    const host = parseHostType(hostName);
    const { settings, problem } = settingsOrDefaults(host);
    const container = compose({ settings, host, humanLevel: "warn", copies: "copy" });
    const logger = container.resolve(LOGGER);
    const input = { event, argv: hookArguments, stdin: readFileSync(0, "utf8") };
    let lifecycleEvent: LifecycleEvent | undefined;
    try {
      lifecycleEvent = container.resolve(HOST).parseEvent(input);
      const { guest, cause } = lifecycleEvent;
      if (problem !== undefined) refuseOrWarn(problem, event, logger);
      if (cause === "check") return await answerCheck(container, lifecycleEvent);
      const plan = await dispatch(container, lifecycleEvent, "handle");
      const steps = plan.stages.flat().map((step) => step.kind);
      const durationMs = Math.round(performance.now() - started);
      const record = { guest: guest.name, event, cause, steps, durationMs };
      // about a guest that is none of ours there is nothing to say; as a rule the log is not even loaded for it
      if (steps.length === 0) logger.debug(`${event} done`, record);
      else logger.info(`${event} done`, record);
      container.resolve(HOST).confirm?.();
      return 0;
    } catch (thrown) {
      const error = asLuksmithError(thrown);
      const { guest, cause } = lifecycleEvent ?? {};
      logger.error(`${event} failed`, {
        event,
        error,
        ...(guest && { guest: guest.name }),
        ...(cause && { cause }),
      });
      return error.exitCode;
    } finally {
      await logger.close();
    }
  } catch (thrown) {
    // before there is a logger: the manifest, the command line
    const error = asLuksmithError(thrown);
    process.stderr.write(`${renderError(error)}\n`);
    return error.exitCode;
  }
}

/** Another host asks: whatever the answer is, the host manager must not go on. */
async function answerCheck(container: Container, event: LifecycleEvent): Promise<number> {
  const { checkAnswer } = await import("./migration/check-answer.js");
  const answer = await checkAnswer(container, event);
  writeAll(STDERR, `${CHECK_ANSWER}${JSON.stringify(answer)}\n`);
  return EXIT.refused;
}

interface UsableSettings {
  readonly settings: EffectiveSettings;
  /** Why these are the defaults and not the administrator's. */
  readonly problem?: LuksmithError;
}

function settingsOrDefaults(host: KnownHost): UsableSettings {
  try {
    return { settings: loadSettings(settingsPathOf(host)) };
  } catch (thrown) {
    return { settings: parseSettings('{"version":1}', "the defaults"), problem: asLuksmithError(thrown) };
  }
}

/** Only a stop can do without the settings: it asks no keystore, and the guest's passphrases must leave the host. */
function refuseOrWarn(problem: LuksmithError, event: EventName, logger: Logger): void {
  if (event !== "post-stop") throw problem;
  logger.warn(`${event} goes on with default settings: ${problem.message}`, { event });
}
