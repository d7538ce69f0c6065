/** Where the operator's settings are on a host; tests pass other paths. */
export const SETTINGS_PATH = "/etc/luksmith/settings.json";
