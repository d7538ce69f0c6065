import { appendFile, copyFile, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ADDRESSES } from "../lab/network.js";
import { makeAuthority } from "../lab/certificates.js";
import { twoHostsForThisFile } from "./support/each-test.js";
import { COPY, emptyVolumes, expectPatterns, patternedGuest, settled } from "./support/storage-copy.js";

const hosts = twoHostsForThisFile();
const CERTIFICATES = "/etc/libvirt/migration-certificates";

it("memory and storage migrate over TLS where both hosts have certificates, and not at all without", async () => {
  const { a, b } = hosts();
  const guest = await patternedGuest(hosts(), ["raw"]);
  await emptyVolumes(b, guest.disks);
  const flags = [COPY, "--tls", "--migrateuri", `tcp://${ADDRESSES[1]}`];

  const without = await hosts().migrate(guest, a, b, ...flags);
  expect(without.exitCode).toBe(1);
  expect(without.stderr).toMatch(/credentials/);
  expect(await a.isRunning(guest)).toBe(true);

  await giveCertificates();
  expect(await hosts().migrate(guest, a, b, ...flags)).toMatchObject({ exitCode: 0, stderr: "" });
  await expectPatterns(b, guest);
  await settled(b, guest);
});

/** As docs/migration.md says. */
async function giveCertificates(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "luksmith-tls-"));
  try {
    const authority = await makeAuthority(directory);
    for (const [index, host] of [hosts().a, hosts().b].entries()) {
      const place = host.inside(CERTIFICATES);
      const server = await authority.server(`server-${index}`, `IP:${ADDRESSES[index]!}`);
      const client = await authority.client(`client-${index}`, "migration");
      await mkdir(place);
      for (const [from, to] of [
        [authority.caFile, "ca-cert.pem"],
        [server.certificateFile, "server-cert.pem"],
        [server.keyFile, "server-key.pem"],
        [client.certificateFile, "client-cert.pem"],
        [client.keyFile, "client-key.pem"],
      ] as const)
        await copyFile(from, join(place, to));
      const settings = `migrate_tls_x509_cert_dir = "${CERTIFICATES}"\nmigrate_tls_x509_verify = 1\n`;
      await appendFile(host.inside("/etc/libvirt/qemu.conf"), settings);
      await host.libvirt.restartDaemon();
    }
  } finally {
    await rm(directory, { recursive: true });
  }
}
