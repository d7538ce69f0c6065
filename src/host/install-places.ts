import { PLUGIN_ROOT } from "../manifest/load.js";

/** Where a host manager is, and what is registered with it. */
export interface InstallPlaces {
  /** The root directory of the host. */
  readonly root: string;
  readonly node: string;
  /** The directory of plugin.json. */
  readonly pluginRoot: string;
}

/** Of this very host. */
export const SYSTEM: InstallPlaces = { root: "/", node: process.execPath, pluginRoot: PLUGIN_ROOT };
