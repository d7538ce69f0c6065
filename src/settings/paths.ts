/** Where things are on a host; tests pass other paths. */
export const SETTINGS_PATH = "/etc/luksmith/settings.json";
/** State that must survive a reboot. */
export const STATE_DIRECTORY = "/var/lib/luksmith";
/** State that must not: locks, secrets on their way. */
export const RUNTIME_DIRECTORY = "/run/luksmith";
