import { execa } from "execa";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, renameSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Bundle } from "./bundle.js";
import { ADDRESSES } from "./network.js";
import { answerFile, type Answer, END, type Operations, requestFile } from "./two-kernels-machine.js";
import { runInUml, type UmlNetwork } from "./uml.js";

/** The operations of a program in another kernel: what they take and return goes through JSON. */
export type Remote<T> = {
  readonly [K in keyof T]: T[K] extends (...args: infer A) => infer R
    ? (...args: A) => Promise<Awaited<R>>
    : never;
};

/** Two kernels that have one block device, /dev/ubda, and a cable between them. */
export interface TwoKernels<T> extends AsyncDisposable {
  readonly a: Remote<T>;
  readonly b: Remote<T>;
}

export interface TwoKernelsOptions {
  /** A program that calls `serveOperations`; each kernel runs it, with its address of `ADDRESSES` as argument. */
  readonly program: string;
  /** Bytes of the block device. */
  readonly diskSize: number;
  /** Milliseconds from boot to the end. */
  readonly timeout: number;
}

/** Boots them beside each other, and returns when both programs serve. */
export async function startTwoKernels<T extends Operations>(
  options: TwoKernelsOptions,
): Promise<TwoKernels<T>> {
  const directory = mkdtempSync(join(tmpdir(), "luksmith-two-kernels-"));
  const disk = join(directory, "disk");
  writeFileSync(disk, "");
  truncateSync(disk, options.diskSize);
  const bundle = await Bundle.of(options.program);
  const cable = await Cable.lay(directory);
  const machines = cable.ends.map((network, index) => {
    const argv = [process.execPath, bundle.file, ADDRESSES[index]!];
    return new Machine(argv, { disk, network, timeout: options.timeout });
  });
  const end = async () => {
    const ended = await Promise.allSettled(machines.map((machine) => machine.end()));
    await cable.remove();
    bundle[Symbol.dispose]();
    for (const result of ended) if (result.status === "rejected") throw result.reason;
  };
  try {
    const [a, b] = await Promise.all(machines.map((machine) => machine.remote<T>()));
    return { a: a!, b: b!, [Symbol.asyncDispose]: end };
  } catch (thrown) {
    await end().catch(() => undefined);
    throw thrown;
  }
}

/** One of them, and the calls that go there as files: RESULTS is all that both see. */
class Machine {
  readonly #run: Promise<unknown>;
  readonly #results: Promise<string>;
  #requests = 0;

  constructor(
    argv: readonly string[],
    { disk, ...options }: { disk: string; network: UmlNetwork; timeout: number },
  ) {
    let booting!: (results: string) => void;
    this.#results = new Promise((resolve) => (booting = resolve));
    this.#run = runInUml(argv, { ...options, sharedDisks: [disk], booting }).then(({ exitCode, output }) => {
      if (exitCode !== 0 || output !== "") throw new Error(`exit code ${exitCode}: ${output}`);
    });
    // whoever waits for an answer is told, and `end` tells it
    this.#run.catch(() => undefined);
  }

  /** When it serves. */
  async remote<T>(): Promise<Remote<T>> {
    await this.#call(END.not, []);
    return new Proxy({} as Remote<T>, {
      // a promise is what has `then`
      get: (_, name: string) =>
        name === "then" ? undefined : (...args: unknown[]) => this.#call(name, args),
    });
  }

  async end(): Promise<void> {
    await Promise.race([this.#call(END.now, []), this.#run]);
    await this.#run;
  }

  async #call(operation: string, args: readonly unknown[]): Promise<unknown> {
    const results = await Promise.race([this.#results, this.#gone()]);
    const number = this.#requests++;
    const file = join(results, requestFile(number));
    writeFileSync(`${file}.new`, JSON.stringify({ operation, args }));
    renameSync(`${file}.new`, file);
    const answered = join(results, answerFile(number));
    while (!existsSync(answered)) await Promise.race([sleep(20), this.#gone()]);
    const { value, error } = JSON.parse(readFileSync(answered, "utf8")) as Answer;
    if (error !== undefined) throw new Error(error);
    return value;
  }

  async #gone(): Promise<never> {
    await this.#run;
    throw new Error("the machine has ended");
  }
}

/** A cable that two machines hold an end of, in a network namespace that ends with this process, as a directory does. */
class Cable {
  private constructor(
    private readonly holder: ReturnType<typeof holdNamespace>,
    private readonly namespace: string,
  ) {}

  static async lay(directory: string): Promise<Cable> {
    const holder = holdNamespace(directory);
    const said = await Promise.race([once(holder.stdout, "data"), holder]);
    if (!Array.isArray(said)) throw new Error(`cannot lay a cable: ${said.stderr}`);
    return new Cable(holder, `/proc/${String(said[0]).trim()}/ns/net`);
  }

  get ends(): readonly UmlNetwork[] {
    return ["to-a", "to-b"].map((end) => ({ namespace: this.namespace, interface: end }));
  }

  async remove(): Promise<void> {
    this.holder.stdin.end();
    await this.holder;
  }
}

function holdNamespace(directory: string) {
  const lay = "ip link add to-a type veth peer name to-b; ip link set to-a up; ip link set to-b up";
  const script = `set -e; ${lay}; echo $$; cat; rm -rf -- "$0"`;
  return execa("unshare", ["--net", "sh", "-c", script, directory], {
    detached: true,
    reject: false,
    stdin: "pipe",
  });
}
