import { Secret } from "../../src/secret/secret.js";
import { secretFile } from "../../src/secret/secret-file.js";
import { type Action, interleave, perRound } from "./compare.js";
import { qemuVolume } from "./new-disks.js";
import { type Program, programAction } from "./program.js";
import { type Findings, row, type Side } from "./row.js";
import type { Stock } from "./stock.js";

const EFFORT = { rounds: 7, seconds: 15 };
const TARGET = 1 / 50;

/** What QEMU needs to open a volume with its passphrase and read a sector, as it does at every start of a guest. */
export async function benchUnlocking(stock: Stock): Promise<Findings> {
  using qemuPassphrase = Secret.randomPassphrase();
  const rawVolume = stock.volume("raw");
  const qcow2Volume = stock.volume("qcow2");
  using rawPassphrase = await stock.passphrase(await stock.key("active", rawVolume));
  using qcow2Passphrase = await stock.passphrase(await stock.key("active", qcow2Volume));
  using qemuKey = secretFile(qemuPassphrase);
  using rawKey = secretFile(rawPassphrase);
  using qcow2Key = secretFile(qcow2Passphrase);
  const qemuRaw = await qemuVolume(stock, qemuPassphrase, "luks");
  const qemuQcow2 = await qemuVolume(stock, qemuPassphrase, "qcow2");

  const actions = {
    "opening a plain raw image": programAction(open("driver=raw", stock.volume("raw").path)),
    "unlocking qemu-img's raw volume": programAction(open(RAW, qemuRaw, qemuKey.fd)),
    "unlocking our raw volume": programAction(open(RAW, rawVolume.path, rawKey.fd)),
    "opening a plain qcow2 image": programAction(open("driver=qcow2", stock.volume("qcow2").path)),
    "unlocking qemu-img's qcow2 image": programAction(open(QCOW2, qemuQcow2, qemuKey.fd)),
    "unlocking our qcow2 image": programAction(open(QCOW2, qcow2Volume.path, qcow2Key.fd)),
  } as const satisfies Record<string, Action>;
  const samples = await interleave(actions, EFFORT);

  type Name = keyof typeof actions;
  const side = (name: Name): Side => ({ name: `${name} (whole process)`, milliseconds: samples[name] });
  /** Without what starting qemu-io and opening a file costs in any case. */
  const net = (name: Name, plain: Name): Side => ({
    name: `${name} (less ${plain})`,
    milliseconds: perRound(samples[name], samples[plain], (all, start) => all - start),
  });
  return {
    rows: [
      row(side("unlocking our raw volume"), side("unlocking qemu-img's raw volume"), TARGET),
      row(
        net("unlocking our raw volume", "opening a plain raw image"),
        net("unlocking qemu-img's raw volume", "opening a plain raw image"),
        TARGET,
      ),
      row(side("unlocking our raw volume"), side("opening a plain raw image")),
      row(side("unlocking our qcow2 image"), side("unlocking qemu-img's qcow2 image"), TARGET),
      row(side("unlocking our qcow2 image"), side("opening a plain qcow2 image")),
    ],
    memory: [],
  };
}

const RAW = "driver=luks,key-secret=key";
const QCOW2 = "driver=qcow2,encrypt.format=luks,encrypt.key-secret=key";

function open(driver: string, path: string, key?: number): Program {
  const secret = key === undefined ? [] : ["--object", "secret,id=key,file=/proc/self/fd/3"];
  const image = `${driver},file.driver=file,file.filename=${path}`;
  return {
    argv: ["/usr/bin/qemu-io", ...secret, "--image-opts", image, "-c", "read 0 512"],
    fds: key === undefined ? [] : [key],
  };
}
