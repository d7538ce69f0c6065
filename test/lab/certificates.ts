import { execa } from "execa";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Paths of PEM files; the keys have mode 0600. */
export interface KeyPair {
  readonly certificateFile: string;
  readonly keyFile: string;
}

/** An authority for one test's servers and clients, in a directory of the test; valid for two days. */
export interface Authority {
  readonly caFile: string;
  /** For 127.0.0.1 and localhost, or for `names` such as `DNS:other.example`. */
  server(file: string, names?: string): Promise<KeyPair>;
  client(file: string, commonName: string): Promise<KeyPair>;
}

const LOCAL = "IP:127.0.0.1,DNS:localhost";

/** Needs the package openssl. */
export async function makeAuthority(directory: string, name = "ca"): Promise<Authority> {
  const key = join(directory, `${name}.key`);
  const caFile = join(directory, `${name}.crt`);
  await makeKey(key);
  await openssl(
    ...[
      "req",
      "-x509",
      "-new",
      "-key",
      key,
      "-days",
      "2",
      "-subj",
      `/CN=luksmith test ${name}`,
      "-out",
      caFile,
    ],
    ...["-addext", "basicConstraints=critical,CA:TRUE"],
    ...["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
  );
  const issue = async (file: string, commonName: string, extensions: string): Promise<KeyPair> => {
    const pair = { certificateFile: join(directory, `${file}.crt`), keyFile: join(directory, `${file}.key`) };
    const [request, extensionFile] = [join(directory, `${file}.csr`), join(directory, `${file}.ext`)];
    await makeKey(pair.keyFile);
    await writeFile(extensionFile, extensions);
    await openssl("req", "-new", "-key", pair.keyFile, "-subj", `/CN=${commonName}`, "-out", request);
    await openssl(
      ...["x509", "-req", "-in", request, "-CA", caFile, "-CAkey", key, "-days", "2"],
      // of its own: several are made at once
      ...["-set_serial", `0x${randomBytes(16).toString("hex")}`],
      ...["-extfile", extensionFile, "-out", pair.certificateFile],
    );
    return pair;
  };
  return {
    caFile,
    server: (file, names = LOCAL) =>
      issue(file, "luksmith test server", `subjectAltName=${names}\nextendedKeyUsage=serverAuth\n`),
    client: (file, commonName) => issue(file, commonName, "extendedKeyUsage=clientAuth\n"),
  };
}

async function makeKey(path: string): Promise<void> {
  await openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out", path);
}

async function openssl(...args: string[]): Promise<void> {
  await execa("openssl", args, { stdin: "ignore" });
}
