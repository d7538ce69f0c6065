import { writeSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { LuksFormatter } from "../../../src/encryption/luks-formatter.js";
import { LuksmithError } from "../../../src/error/luksmith-error.js";
import type { Command, CommandResult, CommandRunner } from "../../../src/exec/command-runner.js";
import type { Keyring } from "../../../src/keystore/keyring.js";
import type { AnnotatedDisk } from "../../../src/plan/facts.js";
import { gatherFacts } from "../../../src/plan/gather.js";
import { KeySession } from "../../../src/plan/key-session.js";
import { planPreStart } from "../../../src/plan/plan-pre-start.js";
import { RbdBackend } from "../../../src/storage/rbd/rbd.js";
import { StorageRegistry } from "../../../src/storage/storage-registry.js";
import type { RbdVolume } from "../../../src/storage/volume.js";
import { VolumeLocks } from "../../../src/storage/volume-lock.js";
import { disk, guestWith, NOW, record, request, uuid } from "../../plan/builders.js";
import { codeOf, MIB } from "../workshop.js";

const INFO = { id: "10af4b2c3d", size: 8 * MIB, snapshot_count: 0 };
const IMAGE: RbdVolume = { kind: "rbd", pool: "vms", image: "web1", format: "raw" };

/** Starts nothing: a cluster with one image that reads as zeros, or what `answer` says instead. */
class ScriptedRunner implements CommandRunner {
  readonly commands: Command[] = [];

  constructor(private readonly answer: (line: string) => Partial<CommandResult> | Error | undefined) {}

  run(command: Command): Promise<CommandResult> {
    this.commands.push(command);
    const { tool, args, fds = [] } = command;
    const answer = this.answer([tool, ...args].join(" "));
    if (answer instanceof Error) return Promise.reject(answer);
    const length = Number(/^bs=(\d+)$/m.exec(args.join("\n"))?.[1] ?? 0);
    if (length > 0) writeSync(fds[0]!, Buffer.alloc(length));
    const stdout: Readonly<Record<string, string>> = {
      info: JSON.stringify(INFO),
      diff: "[]",
      "--version": "ceph version 18.2.7 (x) reef",
    };
    return Promise.resolve({
      ...{ exitCode: 0, stderr: "", stdout: stdout[args[0] ?? ""] ?? "" },
      ...answer,
    });
  }

  hold(command: Command): Promise<never> {
    return Promise.reject(new Error(`unexpected command: ${command.args.join(" ")}`));
  }
}

const NOTHING_ELSE = () => undefined;
const NO_RBD = (line: string) =>
  line.startsWith("rbd ")
    ? new LuksmithError("TOOL_MISSING", { what: "cannot run rbd", hint: "apt-get install ceph-common" })
    : undefined;

function backendWith(answer: ConstructorParameters<typeof ScriptedRunner>[0], more = {}) {
  const runner = new ScriptedRunner(answer);
  const settings = { user: "luksmith", conf: "/dev/null", engine: "qemu", ...more } as const;
  const backend = new RbdBackend(
    runner,
    new LuksFormatter(runner),
    new VolumeLocks(runner, "/nonexistent"),
    settings,
  );
  return { backend, runner };
}

describe("what the tools are told about an image", () => {
  it.each<[string, Partial<RbdVolume>, string[], object]>([
    [
      "the settings' user and configuration",
      {},
      ["--conf=/dev/null", "--id=luksmith", "--pool=vms", "--image=web1"],
      { user: "luksmith", conf: "/dev/null" },
    ],
    [
      "the guest's own ones before these",
      { user: "vm", conf: "/etc/ceph/b.conf" },
      ["--conf=/etc/ceph/b.conf", "--id=vm", "--pool=vms", "--image=web1"],
      { user: "vm", conf: "/etc/ceph/b.conf" },
    ],
    [
      "a namespace, and names that look like options",
      { namespace: "--ns", image: "--rf" },
      ["--conf=/dev/null", "--id=luksmith", "--pool=vms", "--namespace=--ns", "--image=--rf"],
      { namespace: "--ns", image: "--rf", user: "luksmith", conf: "/dev/null" },
    ],
    [
      "monitors, also by IPv6 address and without a port",
      { monitors: ["mon1:3300", "[fd00::1]:6789", "mon2"] },
      [
        ...["--conf=/dev/null", "--id=luksmith", "--mon-host=mon1:3300,[fd00::1]:6789,mon2"],
        ...["--pool=vms", "--image=web1"],
      ],
      {
        user: "luksmith",
        conf: "/dev/null",
        server: [
          { host: "mon1", port: "3300" },
          { host: "fd00::1", port: "6789" },
          { host: "mon2", port: "6789" },
        ],
      },
    ],
  ])("%s", async (_what, more, args, node) => {
    const { backend, runner } = backendWith(NOTHING_ELSE);
    const volume = { ...IMAGE, ...more };
    expect(await backend.probe(volume, "allocation-map")).toEqual({ kind: "empty" });
    const [info, read, diff] = runner.commands;
    expect(info).toMatchObject({ tool: "rbd", args: ["info", "--format=json", ...args] });
    const slice = {
      ...{ driver: "raw", offset: 0, size: 4096 },
      file: { driver: "rbd", pool: "vms", image: "web1", ...node },
    };
    expect(read?.args.slice(0, 5)).toEqual(["dd", "-O", "raw", "bs=4096", "count=1"]);
    expect(JSON.parse(read!.args[5]!.replace("if=json:", ""))).toEqual(slice);
    expect(read?.args[6]).toBe("of=/proc/self/fd/3");
    expect(diff?.args).toEqual(["diff", "--whole-object", "--format=json", ...args]);
    for (const { env, timeout } of runner.commands) {
      expect(env).toEqual({ CEPH_ARGS: "--client_mount_timeout=10 --rados_osd_op_timeout=10" });
      expect(timeout).toBe(60_000);
    }
  });

  it("goes without a configuration where the guest names monitors and the host has none", async () => {
    const { backend, runner } = backendWith(NOTHING_ELSE, { conf: "/missing/ceph.conf" });
    await backend.probe({ ...IMAGE, monitors: ["mon1:3300"] }, "header");
    expect(runner.commands[0]?.args).toEqual([
      ...["info", "--format=json", "--id=luksmith", "--mon-host=mon1:3300", "--pool=vms", "--image=web1"],
    ]);
  });

  it("gives sizes in bytes, which rbd takes for megabytes if one does not say so", async () => {
    const { backend, runner } = backendWith(NOTHING_ELSE);
    expect(await backend.allocate({ volume: IMAGE, guestSize: 1000n })).toBe(BigInt(2 * MIB + 1024));
    expect(runner.commands[0]?.args.slice(0, 2)).toEqual(["create", `--size=${2 * MIB + 1024}B`]);
  });
});

describe("what rbd answers", () => {
  it.each([
    [2, "rbd: error opening image web1: (2) No such file or directory"],
    [2, "rbd: error opening pool 'vms': (2) No such file or directory"],
    [2, "noise\nrbd: namespace 'x' does not exist.\n"],
  ])("is absence: %d, %s", async (exitCode, stderr) => {
    const { backend } = backendWith(() => ({ exitCode, stderr }));
    expect(await backend.probe(IMAGE, "header")).toEqual({ kind: "absent" });
  });

  it.each([
    [2, "unable to get monitor info from DNS SRV with service name: ceph-mon", ""],
    [
      13,
      "2026-11-22T06:18:00.480+0000 7f5661748380 -1 monclient: no keyring found",
      " (the cluster does not let in the user luksmith: see its key, its keyring and ceph.conf)",
    ],
    [110, "rbd: couldn't connect to the cluster!", " (the cluster did not answer in time)"],
  ])("is no absence: %d, %s", async (exitCode, stderr, meaning) => {
    const { backend } = backendWith(() => ({ exitCode, stderr }));
    const reason = stderr.replace(/^2026\S+ \S+ -1 /, "") + meaning;
    expect(await backend.probe(IMAGE, "header")).toEqual({ kind: "unreadable", reason });
  });

  it.each(["", "[]", "{}", '{"id":1}', "null"])("is not understood: info %j", async (stdout) => {
    const { backend } = backendWith((line) => (line.startsWith("rbd info") ? { stdout } : undefined));
    expect(await backend.probe(IMAGE, "read")).toMatchObject({ kind: "unreadable" });
  });

  it.each(["", "{}", "null"])("is no proof of emptiness: diff %j", async (stdout) => {
    const { backend } = backendWith((line) => (line.startsWith("rbd diff") ? { stdout } : undefined));
    expect(await backend.probe(IMAGE, "read")).toMatchObject({ kind: "unreadable" });
  });
});

it("says which package QEMU lacks where it has no driver for Ceph", async () => {
  const why = `qemu-img: Could not open 'json:{"driver":"raw"}': Unknown driver 'rbd'`;
  const { backend } = backendWith((line) =>
    line.startsWith("qemu-img ")
      ? new LuksmithError("TOOL_FAILED", { what: "qemu-img failed", why })
      : undefined,
  );
  expect(await backend.probe(IMAGE, "header")).toEqual({
    kind: "unreadable",
    reason: `${why}: apt-get install qemu-block-extra`,
  });
});

describe("a host without the rbd program", () => {
  const { backend } = backendWith(NO_RBD);
  const storage = new StorageRegistry([backend]);
  const reason = "cannot run rbd: apt-get install ceph-common";

  it("cannot read an image, and says which package it lacks", async () => {
    expect(await backend.probe(IMAGE, "header")).toEqual({ kind: "unreadable", reason });
  });

  it("starts guests whose RBD disks are not encrypted", async () => {
    const guest = guestWith(disk("vda", undefined, { volume: IMAGE }));
    using session = new KeySession();
    const facts = await gatherFacts(guest, new Map(), { keyring: {} as Keyring, storage }, session);
    expect(planPreStart(guest, facts, NOW).stages).toEqual([]);
  });

  it("starts none whose are", () => {
    const mapping = disk("vda", 1, { volume: IMAGE });
    const key = { kind: "found", keystore: "local", record: record(1, "vda", "active") } as const;
    const fact: AnnotatedDisk = {
      ...{ kind: "annotated" as const, disk: mapping, uuid: uuid(1), request: request("vda") },
      ...{ key, bases: [] },
      probe: { kind: "unreadable", reason },
    };
    expect(() => planPreStart(guestWith(mapping), [fact], NOW)).toThrow(
      expect.objectContaining({ code: "VOLUME_UNREADABLE", why: reason }) as Error,
    );
  });
});

describe("librbd as the engine", () => {
  const versions = () => Promise.resolve({ qemu: "10.0.2", libvirt: "11.3.0" });
  const version = (stdout: string) => (line: string) => (line === "rbd --version" ? { stdout } : undefined);

  it("is not asked about where the settings choose QEMU", async () => {
    const { backend, runner } = backendWith(NOTHING_ELSE);
    expect(await backend.chooseEngine(IMAGE, () => Promise.reject(new Error("asked")))).toBeUndefined();
    expect(runner.commands).toEqual([]);
  });

  it("is chosen where it works", async () => {
    const { backend } = backendWith(NOTHING_ELSE, { engine: "librbd" });
    expect(await backend.chooseEngine(IMAGE, versions)).toBe("librbd");
    expect(await backend.refusedEngine(IMAGE)).toBeUndefined();
  });

  it("is refused where it loses data", async () => {
    const { backend } = backendWith(version("ceph version 16.2.15 (x) pacific (stable)\n"), {
      engine: "librbd",
    });
    expect(await codeOf(backend.chooseEngine(IMAGE, versions))).toBe("TRAIT_MISSING");
  });

  it("is refused for a version that cannot be told", async () => {
    const { backend } = backendWith(version("nonsense"), { engine: "librbd" });
    expect(await codeOf(backend.chooseEngine(IMAGE, versions))).toBe("TOOL_FAILED");
  });

  it("is refused for a clone, whose header it would destroy", async () => {
    const stdout = JSON.stringify({ ...INFO, parent: { pool: "vms", image: "base" } });
    const { backend } = backendWith((line) => (line.startsWith("rbd info") ? { stdout } : undefined), {
      engine: "librbd",
    });
    expect(await codeOf(backend.chooseEngine(IMAGE, versions))).toBe("TRAIT_MISSING");
    expect(await backend.refusedEngine(IMAGE)).toMatchObject({ code: "TRAIT_MISSING" });
  });
});
