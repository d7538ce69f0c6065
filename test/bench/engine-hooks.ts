import { randomUUID } from "node:crypto";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { domainXml } from "../lab/test-domain.js";
import { interleave } from "./compare.js";
import { shim } from "./hooks.js";
import { IN_MEMORY, LoopDisk } from "./loop-disk.js";
import { NODE, type Program, programAction, runProgram } from "./program.js";
import { type Findings, row, type Side } from "./row.js";
import { type Stock, type StockGuest, virsh } from "./stock.js";

const SIZE = 64 * 1024 * 1024;

type Engine = "native" | "dm-crypt";

/** What the hooks of a guest take by the engine of its disks: a host secret to provide, or a mapping to open. */
export async function benchEngineHooks(stock: Stock): Promise<Findings> {
  using native = new EngineGuest(stock, "native", 1);
  using dmCrypt = new EngineGuest(stock, "dm-crypt", 1);
  using manyNative = new EngineGuest(stock, "native", 4);
  using manyDmCrypt = new EngineGuest(stock, "dm-crypt", 4);
  for (const guest of [native, dmCrypt, manyNative, manyDmCrypt]) guest.provesToWork();
  // in this order, since what one has opened the next one closes
  const actions = {
    "node -e 0": programAction(NODE),
    "pre-start, 1 disk, native": programAction(native.prepare),
    "post-stop, 1 disk, native": programAction(native.release),
    "pre-start, 1 disk, dm-crypt": programAction(dmCrypt.prepare),
    "post-stop, 1 disk, dm-crypt": programAction(dmCrypt.release),
    "pre-start, 4 disks, native": programAction(manyNative.prepare),
    "post-stop, 4 disks, native": programAction(manyNative.release),
    "pre-start, 4 disks, dm-crypt": programAction(manyDmCrypt.prepare),
    "post-stop, 4 disks, dm-crypt": programAction(manyDmCrypt.release),
  };
  type Name = keyof typeof actions;
  const times = await interleave(actions, { rounds: 9, seconds: 120 });
  const side = (name: Name): Side => ({ name, milliseconds: times[name] });
  const compare = (subject: Name, baseline: Name) => row(side(subject), side(baseline));
  return {
    rows: [
      compare("pre-start, 1 disk, dm-crypt", "pre-start, 1 disk, native"),
      compare("pre-start, 4 disks, dm-crypt", "pre-start, 4 disks, native"),
      compare("post-stop, 1 disk, dm-crypt", "post-stop, 1 disk, native"),
      compare("post-stop, 4 disks, dm-crypt", "post-stop, 4 disks, native"),
      compare("pre-start, 1 disk, native", "node -e 0"),
      compare("pre-start, 1 disk, dm-crypt", "node -e 0"),
    ],
    memory: [],
  };
}

/** A guest on block devices in memory, encrypted by `luksmith protect` for one engine. */
class EngineGuest implements Disposable {
  readonly guest: StockGuest;
  readonly #disks: readonly LoopDisk[];

  constructor(
    stock: Stock,
    private readonly engine: Engine,
    count: number,
  ) {
    this.#disks = Array.from({ length: count }, () => new LoopDisk(SIZE));
    const name = `guest-${randomUUID()}`;
    const devices = this.#disks.map(({ path }, index) => diskXml(path, index)).join("");
    const directory = mkdtempSync(join(IN_MEMORY, "bench-"));
    const file = join(directory, "domain.xml");
    writeFileSync(file, domainXml({ name, devices }));
    virsh("define", file);
    rmSync(directory, { recursive: true });
    const protect = ["protect", name, "--engine", engine, "--now"];
    runProgram({ argv: [process.execPath, stock.places.luksmith, ...protect] });
    this.guest = { name, xml: virsh("dumpxml", name) };
  }

  get prepare(): Program {
    return shim(this.guest, "prepare", "begin");
  }

  get release(): Program {
    return shim(this.guest, "release", "end");
  }

  /** Also warms up the page cache. @throws unless the hooks do what is timed */
  provesToWork(): void {
    const expected = this.#disks.length;
    runProgram(this.prepare);
    const counts = { native: secrets(), "dm-crypt": this.#open() };
    const other = this.engine === "native" ? counts["dm-crypt"] : counts.native;
    if (counts[this.engine] !== expected || other !== 0)
      throw new Error(`pre-start by ${this.engine}: ${JSON.stringify(counts)} instead of ${expected}`);
    runProgram(this.release);
    if (secrets() + this.#open() !== 0) throw new Error(`post-stop by ${this.engine} left something`);
  }

  /** How many of its mappings are open. */
  #open(): number {
    const names = this.guest.xml.match(/\/dev\/mapper\/luksmith-[^'"]+(?=['"])/g) ?? [];
    return new Set(names.filter((path) => existsSync(path))).size;
  }

  [Symbol.dispose](): void {
    virsh("undefine", this.guest.name);
    for (const disk of this.#disks) disk[Symbol.dispose]();
  }
}

function secrets(): number {
  return virsh("secret-list")
    .split("\n")
    .filter((line) => line.trim() !== "").length;
}

function diskXml(path: string, index: number): string {
  return `<disk type='block' device='disk'>
    <driver name='qemu' type='raw'/>
    <source dev='${path}'/>
    <target dev='vd${String.fromCharCode(97 + index)}' bus='virtio'/>
  </disk>`;
}
