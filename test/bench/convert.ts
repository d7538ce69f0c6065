import { randomUUID } from "node:crypto";
import { closeSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { nativeEnd, plainEnd } from "../../src/convert/disk-end.js";
import { type CopyRequest, VolumeCopier } from "../../src/convert/volume-copier.js";
import { PAYLOAD_OFFSET } from "../../src/encryption/luks-header.js";
import { type Command, ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { Secret } from "../../src/secret/secret.js";
import { secretFile } from "../../src/secret/secret-file.js";
import { createStorageRegistry } from "../../src/storage/index.js";
import { DEFAULT_STORAGE } from "../storage/default-storage.js";
import { type Action, interleave, spread } from "./compare.js";
import { fill } from "./loop-disk.js";
import { peakMemory } from "./memory.js";
import { type Program, runProgram } from "./program.js";
import { type Findings, row, type Side } from "./row.js";
import type { ImageVolume, Stock, StockGuest } from "./stock.js";

const MIB = 1024 * 1024;
const [SMALL, LARGE] = [32 * MIB, 128 * MIB];
/** Of which the first half is data, and the other one a hole. */
const HALF_FULL = 1024 * MIB;
const EFFORT = { rounds: 5, seconds: 45 };
const LONG_EFFORT = { rounds: 5, seconds: 60 };
/** What a copy takes at most, where QEMU's own way has 0.8 of that to do. */
const TARGET = 1 / 0.8;
/** qemu-img with the cache and the parallelism of our own copies. */
const LIKE_OURS = ["convert", "-t", "writeback", "-W", "-m", "16"];

/** What encrypting raw disks costs, against QEMU's own tool: one that is full of data, and a larger one that is half full. */
export async function benchConvert(stock: Stock): Promise<Findings> {
  const full = await benchFull(stock);
  return {
    rows: [...full, ...(await benchHalfFull(stock))],
    memory: [
      ...(await memoryOf(stock, SMALL)),
      ...(await memoryOf(stock, HALF_FULL)),
      ...(await memoryOf(stock, SMALL, "--in-place")),
      ...(await memoryOf(stock, HALF_FULL, "--in-place")),
    ],
  };
}

async function benchHalfFull(stock: Stock): Promise<Findings["rows"]> {
  const source = stock.volume("raw", { size: HALF_FULL });
  fill(source.path, 0, HALF_FULL / 2);
  await using copying = await Copying.into(stock, source, HALF_FULL);
  const empty = stock.volume("raw", { size: MIB });
  const samples = await interleave(
    {
      ours: { run: () => copying.copy() },
      qemu: qemuConverts(stock, source, "luks"),
      header: qemuConverts(stock, empty, "luks"),
    },
    LONG_EFFORT,
  );
  const name = "1 GiB, half of it a hole";
  return [
    row(
      { name: `copy into LUKS, ${name}`, milliseconds: samples.ours },
      {
        name: `qemu-img convert -O luks, ${name}, without its key derivation`,
        milliseconds: withoutHeader(samples.qemu, samples.header),
      },
      TARGET,
    ),
  ];
}

async function benchFull(stock: Stock): Promise<Findings["rows"]> {
  const source = stock.volume("raw", { size: LARGE });
  fill(source.path, 0, LARGE);
  await using copying = await Copying.into(stock, source, LARGE);
  const actions = {
    "copy into LUKS, 128 MiB": { run: () => copying.copy() },
    "the same, 1 request at a time": { run: () => copying.copy(["-m", "1"]) },
    "the same, 4 requests at a time": { run: () => copying.copy(["-m", "4"]) },
    "the same, cache none": { run: () => copying.copy(["-t", "none"]) },
    "verification of the copy": { run: () => copying.verify() },
    "qemu-img convert -O luks": qemuConverts(stock, source, "luks"),
    "qemu-img convert -O luks of 1 MiB": qemuConverts(stock, stock.volume("raw", { size: MIB }), "luks"),
    "qemu-img convert -O raw": qemuConverts(stock, source, "raw"),
    "protect --convert, all of it": converts(stock, LARGE),
    "protect --convert --in-place, all of it": converts(stock, LARGE, "--in-place"),
  } as const satisfies Record<string, Action>;
  const samples = await interleave(actions, EFFORT);

  const side = (name: keyof typeof actions): Side => ({ name, milliseconds: samples[name] });
  const ours = side("copy into LUKS, 128 MiB");
  const luks = side("qemu-img convert -O luks");
  const plain = side("qemu-img convert -O raw");
  const copied = {
    name: "qemu-img convert -O luks, without its key derivation",
    milliseconds: withoutHeader(luks.milliseconds, side("qemu-img convert -O luks of 1 MiB").milliseconds),
  };
  return [
    row(ours, copied, TARGET),
    row(side("verification of the copy"), ours),
    row(side("protect --convert, all of it"), luks),
    row(side("protect --convert --in-place, all of it"), plain),
    row(luks, plain),
    row(side("the same, 1 request at a time"), ours),
    row(side("the same, 4 requests at a time"), ours),
    row(side("the same, cache none"), ours),
  ];
}

/** Real tools; qemu-img's options can be others than the copier's own. */
class TunedRunner extends ExecaCommandRunner {
  instead: readonly string[] = [];

  override run(command: Command) {
    const [option, value = ""] = this.instead;
    const at = option === undefined ? -1 : command.args.indexOf(option);
    const args = at < 0 ? command.args : command.args.with(at + 1, value);
    return super.run({ ...command, args });
  }
}

/** A copy that can be made again and again, into a volume that has all its blocks. */
class Copying implements AsyncDisposable {
  readonly #copier: VolumeCopier;

  private constructor(
    private readonly runner: TunedRunner,
    private readonly request: CopyRequest,
    private readonly close: () => Promise<void>,
  ) {
    this.#copier = new VolumeCopier(runner);
  }

  static async into(stock: Stock, volume: ImageVolume, bytes: number): Promise<Copying> {
    const runner = new TunedRunner();
    const target = stock.volume("raw", { size: PAYLOAD_OFFSET + bytes });
    const passphrase = Secret.randomPassphrase();
    await stock.header(target, passphrase);
    const backend = await createStorageRegistry(runner, DEFAULT_STORAGE).backendFor(target);
    const size = BigInt(bytes);
    const ends = {
      source: await plainEnd(volume, runner),
      target: await nativeEnd({ volume: target, backend, size, passphrase }, runner),
    };
    const lock = openSync("/dev/null", "r");
    const copying = new Copying(runner, { ...ends, size, lock }, async () => {
      closeSync(lock);
      await ends.source[Symbol.asyncDispose]();
      await ends.target[Symbol.asyncDispose]();
      passphrase.dispose();
    });
    await copying.copy();
    return copying;
  }

  async copy(instead: readonly string[] = []): Promise<void> {
    this.runner.instead = instead;
    await this.#copier.copy(this.request);
  }

  async verify(): Promise<void> {
    this.runner.instead = [];
    const answer = await this.#copier.compare(this.request);
    if (answer !== "same") throw new Error("the copy is not what was copied");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** QEMU measures for seconds how fast it derives keys, however short the derivation may be: that is no part of a copy. */
function withoutHeader(samples: readonly number[], header: readonly number[]): number[] {
  const { median } = spread(header);
  return samples.map((milliseconds) => Math.max(1, milliseconds - median));
}

/** With the shortest key derivation, and a target that has all its blocks, as ours has. */
function qemuConverts({ places }: Stock, { path }: ImageVolume, format: "luks" | "raw"): Action {
  const target = join(places.volumes, randomUUID());
  const secret = ["--object", "secret,id=key,file=/proc/self/fd/3"];
  const options = format === "luks" ? [...secret, "-o", "key-secret=key,iter-time=10"] : [];
  const args = [...LIKE_OURS, "-f", "raw", "-O", format, ...options, path, target];
  return {
    run: () => {
      using passphrase = Secret.randomPassphrase();
      using key = secretFile(passphrase);
      return runProgram({ argv: ["/usr/bin/qemu-img", ...args], fds: [key.fd] });
    },
    transient: /Unable to get accurate CPU usage/,
  };
}

/** The whole command, from exec to exit: key, header, copy, verification, the guest's configuration. */
function converts(stock: Stock, size: number, ...options: readonly string[]): Action {
  let guest: StockGuest;
  return {
    before: async () => (guest = await guestWith(stock, size, size)),
    run: () => runProgram(conversionOf(stock, guest, options)),
    after: () => {
      removeDisks(guest);
      stock.undefine(guest);
    },
  };
}

async function memoryOf(stock: Stock, size: number, ...options: readonly string[]) {
  const guest = await guestWith(stock, size, size / 2);
  const subject = ["protect --convert", ...options, `of ${size / MIB} MiB`].join(" ");
  const found = await peakMemory(subject, conversionOf(stock, guest, options));
  removeDisks(guest);
  return found.filter(({ process }) => process === "node" || process === "qemu-img");
}

async function guestWith(stock: Stock, size: number, data: number): Promise<StockGuest> {
  const guest = await stock.guest("plain", 1, "raw", size);
  for (const path of disksOf(guest)) fill(path, 0, data);
  return guest;
}

function conversionOf(stock: Stock, { name }: StockGuest, options: readonly string[]): Program {
  return { argv: [process.execPath, stock.places.luksmith, "protect", name, "--convert", ...options] };
}

/** The old volume, and the new one beside it, which has no name of its own in what was defined. */
function removeDisks(guest: StockGuest): void {
  for (const path of disksOf(guest))
    for (const one of [path, `${path}.luks.raw`]) rmSync(one, { force: true });
}

function disksOf({ xml }: StockGuest): string[] {
  return [...xml.matchAll(/<source file='([^']+)'/g)].flatMap(([, path]) => path ?? []);
}
