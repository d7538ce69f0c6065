import { LuksmithError } from "../../../error/luksmith-error.js";

/**
 * The ways to a TPM (TCTIs of tpm2-tss) that speak to a device or a server. Others start what they are told to, as
 * root: `cmd:…`.
 */
const DRIVERS = /^(device|swtpm|mssim|tabrmd)(:|$)/;

/**
 * Settings have no other; the file of a master key may, from when they could.
 * @param place a TCTI, or what systemd takes for one: a device's path, or auto
 * @throws PROTECTOR_UNAVAILABLE
 */
export function requireTpmDriver(place: string): void {
  if (DRIVERS.test(place) || place.startsWith("/") || place === "auto") return;
  throw new LuksmithError("PROTECTOR_UNAVAILABLE", {
    what: "the TPM is not asked",
    why: `the master key's file says how to reach it: ${place}, which could start a program`,
    hint: "name the TPM in the settings of the keystore's protector; device:/dev/tpmrm0 is the kernel's",
  });
}
