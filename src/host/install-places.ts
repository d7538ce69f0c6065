import { join } from "node:path";
import { PLUGIN_ROOT } from "../manifest/load.js";

/** Where a host manager is, and what is registered with it. */
export interface InstallPlaces {
  /** The root directory of the host. */
  readonly root: string;
  readonly node: string;
  /** The directory of plugin.json. */
  readonly pluginRoot: string;
}

/** Where the Debian package has plugin.json, dist/ and schemas/. */
const PACKAGE_ROOT = "usr/lib/luksmith";

/** Of this very host. */
export const SYSTEM: InstallPlaces = { root: "/", node: process.execPath, pluginRoot: PLUGIN_ROOT };

/** Whether the code that runs is that of the Debian package. */
export function isPackageTree({ root, pluginRoot }: InstallPlaces): boolean {
  return pluginRoot === join(root, PACKAGE_ROOT);
}
