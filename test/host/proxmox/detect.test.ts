import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { isProxmoxHost } from "../../../src/host/proxmox/detect.js";
import { settingsPathOf } from "../../../src/settings/paths.js";
import { temporaryDirectory } from "../../fs/tree.js";

describe("a host", () => {
  it("has Proxmox VE where its Perl modules for VMs are, and not where some other of it is", () => {
    const root = temporaryDirectory();
    mkdirSync(join(root, "usr/share/perl5/PVE"), { recursive: true });
    mkdirSync(join(root, "etc/pve"), { recursive: true });
    writeFileSync(join(root, "usr/share/perl5/PVE/Tools.pm"), "");
    expect(isProxmoxHost(root)).toBe(false);
    writeFileSync(join(root, "usr/share/perl5/PVE/QemuServer.pm"), "");
    expect(isProxmoxHost(root)).toBe(true);
  });

  it("has its settings in the cluster's file system if it has Proxmox VE", () => {
    expect(settingsPathOf("proxmox")).toBe("/etc/pve/luksmith/settings.json");
    expect(settingsPathOf("libvirt")).toBe("/etc/luksmith/settings.json");
  });
});
