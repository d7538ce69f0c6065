import { parseSettings } from "../../src/settings/load.js";

/** The settings of all storage where the operator has said nothing. */
export const DEFAULT_STORAGE = parseSettings('{"version":1}', "the defaults").storage;
