import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { Secret } from "../../src/secret/secret.js";
import { secretFile } from "../../src/secret/secret-file.js";
import { type Action, interleave } from "./compare.js";
import { shim } from "./hooks.js";
import { runProgram } from "./program.js";
import { type Findings, row, type Side } from "./row.js";
import type { ImageFormat, ImageVolume, Stock, StockGuest } from "./stock.js";

const EFFORT = { rounds: 5, seconds: 25 };
const TARGET = 1 / 50;

/** What encrypting a new disk of 64 MiB costs, against QEMU's own way with its defaults. */
export async function benchNewDisks(stock: Stock): Promise<Findings> {
  using passphrase = Secret.randomPassphrase();
  const actions = {
    "qemu-img create -f luks": qemuCreates(stock, passphrase, "luks"),
    "key and header, raw": keyAndHeader(stock, "raw"),
    "pre-start that formats, raw": firstStart(stock, "raw"),
    "qemu-img create -f qcow2 -o encrypt.format=luks": qemuCreates(stock, passphrase, "qcow2"),
    "key and header, qcow2": keyAndHeader(stock, "qcow2"),
    "pre-start that formats, qcow2": firstStart(stock, "qcow2"),
  } as const satisfies Record<string, Action>;
  const samples = await interleave(actions, EFFORT);

  const side = (name: keyof typeof actions): Side => ({ name, milliseconds: samples[name] });
  const raw = side("qemu-img create -f luks");
  const qcow2 = side("qemu-img create -f qcow2 -o encrypt.format=luks");
  return {
    rows: [
      row(side("key and header, raw"), raw, TARGET),
      row(side("pre-start that formats, raw"), raw, TARGET),
      row(side("key and header, qcow2"), qcow2),
      row(side("pre-start that formats, qcow2"), qcow2),
    ],
    memory: [],
  };
}

/** Makes an encrypted volume as Nova and CloudStack do. Resolves to its path. */
export async function qemuVolume(
  stock: Stock,
  passphrase: Secret,
  format: "luks" | "qcow2",
): Promise<string> {
  const path = join(stock.places.volumes, randomUUID());
  await interleave({ create: qemuCreates(stock, passphrase, format, path) }, { rounds: 1, seconds: 0 });
  return path;
}

const OPTIONS = { luks: "key-secret=key", qcow2: "encrypt.format=luks,encrypt.key-secret=key" };

function qemuCreates(
  { places }: Stock,
  passphrase: Secret,
  format: keyof typeof OPTIONS,
  path = join(places.volumes, randomUUID()),
): Action {
  const secret = ["--object", "secret,id=key,file=/proc/self/fd/3"];
  const args = ["create", "-q", ...secret, "-f", format, "-o", OPTIONS[format], path, "64M"];
  return {
    run: () => {
      using key = secretFile(passphrase);
      return runProgram({ argv: ["/usr/bin/qemu-img", ...args], fds: [key.fd] });
    },
    // where others use the processors, QEMU's benchmark of PBKDF2 gives up
    transient: /Unable to get accurate CPU usage/,
  };
}

/** In this process: from an empty volume to one with a key in the keystore and a proven header. */
function keyAndHeader(stock: Stock, format: ImageFormat): Action {
  let volume: ImageVolume;
  return {
    before: () => (volume = stock.volume(format)),
    run: () => stock.key("active", volume),
  };
}

/** The whole hook, from exec to exit. */
function firstStart(stock: Stock, format: ImageFormat): Action {
  let guest: StockGuest;
  return {
    before: async () => (guest = await stock.guest("pending", 1, format)),
    run: () => runProgram(shim(guest, "prepare", "begin")),
    after: () => runProgram(shim(guest, "release", "end")),
  };
}
