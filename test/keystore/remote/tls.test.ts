import { execa } from "execa";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server, type ServerOptions } from "node:https";
import { readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { TlsSettings } from "../../../src/generated/keystore-tls.js";
import { Budget } from "../../../src/keystore/remote/budget.js";
import { HttpClient } from "../../../src/keystore/remote/http-client.js";
import { type Authority, type KeyPair, makeAuthority } from "../../lab/certificates.js";

let directory: string;
let authority: Authority;
let stranger: Authority;
let pair: KeyPair;
let client: KeyPair;
const servers: Server[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "luksmith-tls-"));
  authority = await makeAuthority(directory);
  stranger = await makeAuthority(directory, "stranger");
  pair = await authority.server("server");
  client = await authority.client("client", "host1");
});
afterAll(() => rmSync(directory, { recursive: true }));
afterEach(() => {
  vi.unstubAllEnvs();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(options: ServerOptions = {}, { certificateFile, keyFile } = pair): Promise<string> {
  const server = createServer(
    { cert: readFileSync(certificateFile), key: readFileSync(keyFile), ...options },
    (request, response) => {
      const socket = request.socket as TLSSocket;
      const peer = socket.getPeerCertificate().subject as { CN: string } | undefined;
      response.end([socket.getProtocol(), peer?.CN ?? "nobody"].join(" "));
    },
  );
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function ask(url: string, tls: TlsSettings, method: "GET" | "POST" = "GET"): Promise<string> {
  const { body } = await new HttpClient("vault1", url, tls).send({ method, path: "/" }, new Budget(10_000));
  return String(body);
}
const distrust = (why: RegExp) => ({
  code: "KEYSTORE_TLS_FAILED",
  why: expect.stringMatching(why) as string,
  hint: expect.stringMatching(/\w/) as string,
});

describe("a server that proves who it is", () => {
  it("is believed with the authority of the settings", async () => {
    expect(await ask(await serve(), { caFile: authority.caFile })).toBe("TLSv1.3 nobody");
  });

  it("may have its certificate behind a symbolic link, and several in the file", async () => {
    const link = join(directory, "link.pem");
    const bundle = join(directory, "bundle.pem");
    writeFileSync(bundle, readFileSync(stranger.caFile, "utf8") + readFileSync(authority.caFile, "utf8"));
    symlinkSync(bundle, link);
    expect(await ask(await serve(), { caFile: link })).toBe("TLSv1.3 nobody");
  });

  it("may have the name of the settings instead of the one in the address", async () => {
    const other = await serve({}, await authority.server("other", "DNS:vault.example"));
    const { caFile } = authority;
    await expect(ask(other, { caFile })).rejects.toMatchObject(distrust(/ERR_TLS_CERT_ALTNAME_INVALID/));
    expect(await ask(other, { caFile, serverName: "vault.example" })).toBe("TLSv1.3 nobody");
    await expect(ask(await serve(), { caFile, serverName: "vault.example" })).rejects.toMatchObject(
      distrust(/ERR_TLS_CERT_ALTNAME_INVALID/),
    );
  });
});

describe("a server that does not", () => {
  it("is not believed: its authority is not known, or another one", async () => {
    for (const tls of [{}, { caFile: stranger.caFile }]) {
      await expect(ask(await serve(), tls)).rejects.toMatchObject(distrust(/UNABLE_TO_|SELF_SIGNED_/));
    }
  });

  it("is not believed although NODE_TLS_REJECT_UNAUTHORIZED says so", async () => {
    vi.stubEnv("NODE_TLS_REJECT_UNAUTHORIZED", "0");
    await expect(ask(await serve(), {})).rejects.toMatchObject(distrust(/UNABLE_TO_|SELF_SIGNED_/));
  });

  it("is not believed when its certificate has expired", async () => {
    const request = join(directory, "old.csr");
    const old = { certificateFile: join(directory, "old.crt"), keyFile: pair.keyFile };
    const extensions = join(directory, "old.ext");
    writeFileSync(extensions, "subjectAltName=IP:127.0.0.1\n");
    await execa("openssl", ["req", "-new", "-key", pair.keyFile, "-subj", "/CN=old", "-out", request]);
    // made yesterday for no day at all
    const ca = ["-CA", authority.caFile, "-CAkey", join(directory, "ca.key"), "-CAcreateserial"];
    const signing = ["x509", "-req", "-in", request, ...ca, "-days", "-1", "-extfile", extensions];
    await execa("openssl", [...signing, "-out", old.certificateFile]);
    await expect(ask(await serve({}, old), { caFile: authority.caFile })).rejects.toMatchObject(
      distrust(/CERT_HAS_EXPIRED/),
    );
  });

  it("is not believed with a certificate for clients", async () => {
    const url = await serve({}, client);
    await expect(ask(url, { caFile: authority.caFile })).rejects.toMatchObject(distrust(/TLS/));
  });

  it("is not spoken to with an old version of TLS", async () => {
    const { caFile } = authority;
    const ancient = await serve({
      minVersion: "TLSv1",
      maxVersion: "TLSv1.1",
      ciphers: "DEFAULT@SECLEVEL=0",
    });
    await expect(ask(ancient, { caFile })).rejects.toMatchObject(distrust(/ERR_SSL_|EPROTO/));
    const old = await serve({ maxVersion: "TLSv1.2" });
    expect(await ask(old, { caFile })).toBe("TLSv1.2 nobody");
    await expect(ask(old, { caFile, minVersion: "1.3" })).rejects.toMatchObject(distrust(/ERR_SSL_|EPROTO/));
  });

  it("is told apart where there is no TLS at all", async () => {
    const { createServer: createPlain } = await import("node:http");
    const plain = createPlain((_, response) => response.end()).listen(0, "127.0.0.1");
    await once(plain, "listening");
    const url = `https://127.0.0.1:${(plain.address() as AddressInfo).port}`;
    await expect(ask(url, {})).rejects.toMatchObject(distrust(/ERR_SSL_|EPROTO/));
    plain.close();
  });
});

describe("a client certificate", () => {
  const asking = () =>
    serve({ requestCert: true, rejectUnauthorized: true, ca: readFileSync(authority.caFile) });

  it("is shown to a server that asks for it", async () => {
    expect(await ask(await asking(), { caFile: authority.caFile, ...client })).toBe("TLSv1.3 host1");
  });

  it.each(["GET", "POST"] as const)(
    "that is missing or unknown is said to be wrong, with %s",
    async (method) => {
      const { caFile } = authority;
      const unknown = await stranger.client(`unknown-${method}`, "host1");
      for (const tls of [{ caFile }, { caFile, ...unknown }]) {
        for (const maxVersion of ["TLSv1.3", "TLSv1.2"] as const) {
          const ca = readFileSync(caFile);
          const url = await serve({ requestCert: true, rejectUnauthorized: true, ca, maxVersion });
          await expect(ask(url, tls, method)).rejects.toMatchObject({
            code: expect.stringMatching(/^KEYSTORE_(TLS_FAILED|UNAVAILABLE)$/) as string,
          });
        }
      }
    },
  );

  it("needs its own key", async () => {
    const { caFile } = authority;
    const mixed = { caFile, certificateFile: client.certificateFile, keyFile: pair.keyFile };
    await expect(ask(await asking(), mixed)).rejects.toMatchObject({ code: "KEYSTORE_TLS_FAILED" });
  });
});

describe("the files of TLS", () => {
  const make = (tls: TlsSettings) => () => new HttpClient("vault1", "https://127.0.0.1:1", tls);

  it("are asked for when they are missing", () => {
    const missing = join(directory, "missing");
    const code = (expected: string) => expect.objectContaining({ code: expected }) as Error;
    expect(make({ caFile: missing })).toThrow(code("KEYSTORE_TLS_FAILED"));
    expect(make({ certificateFile: missing })).toThrow(code("KEYSTORE_TLS_FAILED"));
    expect(make({ keyFile: missing })).toThrow(code("KEYSTORE_CREDENTIAL_MISSING"));
  });

  it("are not used when others could change or read them", () => {
    const ca = join(directory, "open.crt");
    writeFileSync(ca, readFileSync(authority.caFile));
    chmodSync(ca, 0o666);
    const key = join(directory, "open.key");
    writeFileSync(key, readFileSync(client.keyFile));
    chmodSync(key, 0o644);
    const unsafe = expect.objectContaining({ code: "PERMISSIONS_UNSAFE" }) as Error;
    expect(make({ caFile: ca })).toThrow(unsafe);
    expect(make({ keyFile: key })).toThrow(unsafe);
  });

  it("are refused when they are something else", async () => {
    const junk = join(directory, "junk");
    writeFileSync(junk, "junk", { mode: 0o600 });
    const { caFile } = authority;
    for (const tls of [
      { caFile: junk },
      { caFile, certificateFile: junk },
      { caFile, ...client, keyFile: junk },
    ]) {
      const url = await serve();
      const thrown = await ask(url, tls).catch((error: unknown) => error);
      expect(thrown).toMatchObject({ code: "KEYSTORE_TLS_FAILED" });
    }
  });
});
