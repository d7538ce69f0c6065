import { expect, it } from "vitest";
import { isUnsupported, unsupportedCommand } from "../../../src/host/proxmox/unsupported.js";

it("says what gives a disk of a copied guest a key of its own", () => {
  expect(isUnsupported("separate")).toBe(true);
  const { code, hint } = unsupportedCommand("separate", ["101", "scsi0"]);
  expect([code, hint]).toEqual(["HOST_UNSUPPORTED", expect.stringContaining("qm clone 101 NEWID --full")]);
});

it("takes no other word for a VMID", () => {
  expect(unsupportedCommand("separate", ["web1; reboot"]).hint).toContain("qm clone VMID NEWID");
});

it("leaves what Proxmox VE has no command for", () => {
  expect(["drill", "audit", "header"].filter(isUnsupported)).toEqual([]);
});
