import { execa } from "execa";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { beforeAll, describe, expect, it } from "vitest";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { KmipKeystore } from "../../../src/keystore/kmip/kmip-keystore.js";
import { type Authority, type KeyPair, makeAuthority } from "../../lab/certificates.js";
import { kmipWorld } from "./kmip.fixture.js";

const world = kmipWorld();
let others: Authority;

beforeAll(async () => {
  others = await makeAuthority(world.server.directory, "untrusted-ca");
});

/** A client's certificate of the server's authority, made by openssl with these arguments. */
async function oddCertificate(name: string, usage: string, ...dates: string[]): Promise<KeyPair> {
  const { directory, authority } = world.server;
  const { keyFile } = await authority.client(name, "host1");
  const certificateFile = join(directory, `${name}-odd.crt`);
  const extensionFile = join(directory, `${name}-odd.ext`);
  await writeFile(extensionFile, `keyUsage=digitalSignature\n${usage}`);
  await execa("openssl", [
    ...["x509", "-req", "-in", join(directory, `${name}.csr`), "-CA", authority.caFile],
    ...["-CAkey", authority.caFile.replace(/crt$/, "key"), "-CAcreateserial", ...dates],
    ...["-extfile", extensionFile, "-out", certificateFile],
  ]);
  return { certificateFile, keyFile };
}

function keystoreWith(tls: object, change: object = {}): KmipKeystore {
  return new KmipKeystore(
    world.settings({ tls: { caFile: world.server.authority.caFile, ...tls }, ...change }),
  );
}

describe("KMIP: who trusts whom", () => {
  it.each<[string, () => Promise<object>, string, RegExp]>([
    ["of another authority", () => others.client("foreign", "owner"), "KEYSTORE_AUTH_FAILED", /authority/],
    [
      "that has expired",
      () => oddCertificate("expired", "extendedKeyUsage=clientAuth", "-days", "-1"),
      "KEYSTORE_AUTH_FAILED",
      /renew.*host1: it expired on 20/,
    ],
    [
      "that is not for clients",
      () => oddCertificate("for-servers", "extendedKeyUsage=serverAuth", "-days", "2"),
      "KEYSTORE_AUTH_FAILED",
      /host1: it lacks the extended key usage clientAuth/,
    ],
    [
      "without an extended key usage",
      () => oddCertificate("for-nothing", "", "-days", "2"),
      "KEYSTORE_AUTH_FAILED",
      /host1: it lacks the extended key usage clientAuth/,
    ],
    ["that is missing", () => Promise.resolve({}), "KEYSTORE_AUTH_FAILED", /set tls.certificateFile/],
  ])("says what is wrong with a certificate %s", async (_, make, code, hint) => {
    const keystore = keystoreWith(await make());
    const refusal = { code, hint: expect.stringMatching(hint) as string };
    await expect(keystore.fetch(newKeyUuid())).rejects.toMatchObject(refusal);
    await expect(keystore.list()).rejects.toMatchObject(refusal);
  });

  it("does not trust a server of another authority, nor one of another name", async () => {
    const { owner } = world;
    const wrong = { code: "KEYSTORE_TLS_FAILED", hint: expect.stringMatching(/\w/) as string };
    const ofOthers = keystoreWith({ ...owner, caFile: others.caFile });
    await expect(ofOthers.fetch(newKeyUuid())).rejects.toMatchObject(wrong);
    const ofAnotherName = keystoreWith({ ...owner, serverName: "kmip.example" });
    await expect(ofAnotherName.fetch(newKeyUuid())).rejects.toMatchObject(wrong);
    expect(await keystoreWith({ ...owner, serverName: "localhost" }).list()).toEqual([]);
  });

  it("says which versions of TLS do not meet", async () => {
    // PyKMIP speaks no TLS 1.3
    const keystore = keystoreWith({ ...world.owner, minVersion: "1.3" });
    await expect(keystore.list()).rejects.toMatchObject({ code: "KEYSTORE_TLS_FAILED" });
  });

  it("says that a certificate and a key do not belong together", async () => {
    const { keyFile } = world.neighbour;
    const keystore = keystoreWith({ ...world.owner, keyFile });
    await expect(keystore.list()).rejects.toMatchObject({ code: "KEYSTORE_TLS_FAILED" });
  });

  it("uses a certificate that was renewed", async () => {
    const { server, owner, stranger } = world;
    const files = [join(server.directory, "renewed.crt"), join(server.directory, "renewed.key")] as const;
    const put = (pair: KeyPair) =>
      Promise.all([execa("cp", [pair.certificateFile, files[0]]), execa("cp", [pair.keyFile, files[1]])]);
    await put(stranger);
    const keystore = keystoreWith({ certificateFile: files[0], keyFile: files[1] });
    await expect(keystore.list()).rejects.toMatchObject({ code: "KEYSTORE_AUTH_FAILED" });
    await put(owner);
    expect(await keystore.list()).toEqual([]);
  });

  it.each([
    ["of another authority", () => others.client("foreign13", "owner"), /authority/],
    ["that is missing", () => Promise.resolve({}), /set tls.certificateFile/],
  ])("hears from TLS 1.3 of a certificate %s, after it is connected", async (_, make, hint) => {
    // the server that PyKMIP is not: with TLS 1.3
    await using server = await startOpenssl(world.server.authority);
    const keystore = keystoreWith(await make(), { port: server.port });
    await expect(keystore.fetch(newKeyUuid())).rejects.toMatchObject({
      code: "KEYSTORE_AUTH_FAILED",
      hint: expect.stringMatching(hint) as string,
    });
  });
});

/** TLS 1.3 with a client's certificate of `authority`, and nothing behind it. */
async function startOpenssl(authority: Authority): Promise<AsyncDisposable & { port: number }> {
  const { certificateFile, keyFile } = await authority.server("openssl");
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  const server = execa(
    "openssl",
    [
      ...["s_server", "-accept", `127.0.0.1:${port}`, "-tls1_3", "-quiet"],
      ...["-cert", certificateFile, "-key", keyFile],
      ...["-CAfile", authority.caFile, "-Verify", "1", "-verify_return_error"],
    ],
    { reject: false, stdin: "pipe" },
  );
  for (let tries = 0; tries < 200 && !(await listens(port)); tries++) await setTimeout(20);
  return {
    port,
    async [Symbol.asyncDispose]() {
      server.kill("SIGKILL");
      await server;
    },
  };
}

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
