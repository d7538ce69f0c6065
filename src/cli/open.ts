import { compose, type Composition } from "../container.js";
import type { Container } from "../di.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { loadManifest } from "../manifest/load.js";
import { detectHost } from "../host/index.js";
import { loadSettings } from "../settings/load.js";
import { settingsPathOf } from "../settings/paths.js";
import { handedOver } from "./token-file.js";

/**
 * The container for a command, with manifest and settings checked. @param options host: the host manager that it speaks
 * to; the one that this host has without it. @throws NOT_PERMITTED unless root
 */
export function open(options: Partial<Pick<Composition, "copies" | "host">> = {}): Container {
  requireRoot();
  loadManifest();
  const { host = detectHost() } = options;
  return compose({
    settings: loadSettings(settingsPathOf(host)),
    humanLevel: "warn",
    ...handedOver(),
    ...options,
    host,
  });
}

export function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new LuksmithError("NOT_PERMITTED", {
    what: "luksmith must run as root",
    why: "keys, hooks and volumes are readable by root only",
    hint: `sudo luksmith ${process.argv.slice(2).join(" ")}`,
  });
}
