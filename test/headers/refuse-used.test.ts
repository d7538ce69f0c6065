import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { asLuksmithError } from "../../src/error/luksmith-error.js";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import { refuseUsed } from "../../src/headers/refuse-used.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { FakeGuestsHost } from "../fake/fake-guests-host.js";

describe("guests that keep a header from being written", () => {
  const uuid = newKeyUuid();
  let root: string;
  let host: FakeGuestsHost;
  let path: string;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "luksmith-used-"));
    path = join(root, "disk.raw");
    writeFileSync(path, "");
    host = new FakeGuestsHost();
  });
  afterEach(() => {
    rmSync(root, { recursive: true });
  });

  /** One guest whose disk is `source`, encrypted with this key. */
  const guest = (source: string, key: string | undefined, running = false) => {
    const block =
      key === undefined
        ? ""
        : `<encryption format='luks'><secret type='passphrase' uuid='${key}'/></encryption>`;
    const xml = `<domain type='kvm'><name>web1</name><uuid>11111111-2222-4333-8444-555555555555</uuid>
      <memory>1</memory><os><type arch='x86_64'>hvm</type></os><devices>
      <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${source}'>${block}</source>
      <target dev='vda' bus='virtio'/></disk></devices></domain>`;
    host.guests = [{ ...guestFromDomainXml(xml), running, saved: false }];
  };
  const verdict = () =>
    refuseUsed(host, { volume: { kind: "file", path, format: "raw" }, uuid }).then(
      () => "none",
      (thrown: unknown) => asLuksmithError(thrown).code,
    );

  it("are none that are shut off and have the volume with its key, or have other volumes", async () => {
    expect(await verdict()).toBe("none");
    guest(path, uuid);
    expect(await verdict()).toBe("none");
    guest(join(root, "other.raw"), undefined);
    expect(await verdict()).toBe("none");
  });

  it("are those that run with it", async () => {
    guest(path, uuid, true);
    expect(await verdict()).toBe("GUEST_RUNNING");
  });

  it("are those that have it without the key: plain, or with another one, by whatever path", async () => {
    guest(path, undefined);
    expect(await verdict()).toBe("VOLUME_NOT_EMPTY");
    guest(path, newKeyUuid());
    expect(await verdict()).toBe("VOLUME_NOT_EMPTY");
    const link = join(root, "link.raw");
    symlinkSync(path, link);
    guest(link, undefined);
    expect(await verdict()).toBe("VOLUME_NOT_EMPTY");
  });
});
