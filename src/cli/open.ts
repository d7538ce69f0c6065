import { compose, type Composition } from "../container.js";
import type { Container } from "../di.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { loadManifest } from "../manifest/load.js";
import { loadSettings } from "../settings/load.js";
import { handedOver } from "./token-file.js";

/** The host manager that the commands speak to. */
export const HOST_TYPE = "libvirt";

/** The container for a command, with manifest and settings checked. @throws NOT_PERMITTED unless root */
export function open(options: Pick<Composition, "copies"> = {}): Container {
  requireRoot();
  loadManifest();
  return compose({
    settings: loadSettings(),
    host: HOST_TYPE,
    humanLevel: "warn",
    ...handedOver(),
    ...options,
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
