import { execa } from "execa";
import { once } from "node:events";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { LuksFormatter } from "../../../src/encryption/luks-formatter.js";
import { LuksmithError } from "../../../src/error/luksmith-error.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import { RbdBackend } from "../../../src/storage/rbd/rbd.js";
import type { FormatRequest, StorageBackend } from "../../../src/storage/storage-backend.js";
import type { RbdVolume } from "../../../src/storage/volume.js";
import { VolumeLocks } from "../../../src/storage/volume-lock.js";
import { type CephCluster, startCephCluster } from "../../lab/ceph-cluster.js";
import { RbdWorkshop } from "./rbd-workshop.js";
import { codeOf, makeBackend, MIB, qemuIo, SPEC } from "../workshop.js";

let cluster: CephCluster;
let shop: RbdWorkshop;
let volume: RbdVolume;
const passphrase = Secret.randomPassphrase();

beforeAll(async () => {
  cluster = await startCephCluster();
});
afterAll(async () => {
  passphrase.dispose();
  await cluster.stop();
});
beforeEach(async () => {
  shop = await RbdWorkshop.make(cluster);
  volume = await shop.makeEmpty("disk");
});
afterEach(() => shop[Symbol.asyncDispose]());

const requestFor = (wanted: RbdVolume): FormatRequest => {
  return { volume: wanted, uuid: newKeyUuid(), spec: SPEC, passphrase };
};

/** What a refusal says; the images of the namespace are as they were. */
async function refusal(wanted: RbdVolume, backend: StorageBackend = shop.backend): Promise<string> {
  const before = await shop.state();
  const started = performance.now();
  const thrown: unknown = await backend.createEncrypted(requestFor(wanted)).then(
    () => new Error("it was formatted"),
    (error: unknown) => error,
  );
  const seconds = (performance.now() - started) / 1000;
  expect(await shop.state()).toEqual(before);
  if (!(thrown instanceof LuksmithError)) throw thrown;
  expect(seconds, thrown.message).toBeLessThan(8);
  return `${thrown.code}: ${thrown.why ?? ""}`;
}

/** Formats it and uses it as a guest does. */
async function expectUsable(wanted: RbdVolume): Promise<void> {
  await shop.backend.createEncrypted(requestFor(wanted));
  const node = shop.backend.qemuNode(wanted, "key");
  const io = (...commands: string[]) => qemuIo(node, commands, passphrase);
  io("write -P 0x77 0 64k", "write -P 0x66 1M 64k");
  io("read -P 0x77 0 64k", "read -P 0x66 1M 64k");
  expect((await shop.bytes(wanted)).includes(Buffer.alloc(64, 0x77))).toBe(false);
}

/** The backend as another user or with another ceph.conf has it, and one that has less patience. */
function backendFor(access: { readonly user?: string; readonly conf?: string; readonly patience?: number }) {
  const { patience, ...more } = access;
  const settings = { ...shop.settings.rbd, ...more };
  const locks = new VolumeLocks(shop.runner, shop.lockDirectory);
  return new RbdBackend(shop.runner, new LuksFormatter(shop.runner), locks, settings, patience);
}

/** A ceph.conf that is like that of the cluster but for `keyring`. */
function confWithKeyring(keyring: string): string {
  const conf = join(shop.root, "ceph.conf");
  const text = readFileSync(cluster.conf, "utf8").replace(/^keyring = .*$/m, `keyring = ${keyring}`);
  writeFileSync(conf, text);
  return conf;
}

/** A qemu-io that has the image open for writing. */
async function opener(wanted: RbdVolume) {
  const holder = execa("qemu-io", [`json:${JSON.stringify(shop.plainNode(wanted))}`], {
    stdin: "pipe",
    reject: false,
  });
  await once(holder.stdout, "data");
  const ended = async (): Promise<void> => {
    await holder;
  };
  return {
    close: () => {
      holder.stdin.end();
      return ended();
    },
    kill: () => {
      holder.kill("SIGKILL");
      return ended();
    },
  };
}

describe("an image that cannot be proven to be nobody's", () => {
  it("is refused at once when somebody has locked it by hand, since writing would wait for ever", async () => {
    await shop.rbd(volume, "lock", "add", "maintenance");
    expect(await shop.backend.probe(volume, "read")).toEqual({ kind: "empty" });
    expect(await refusal(volume)).toBe("VOLUME_BUSY: it is locked: rbd lock ls names the lock maintenance");
  });

  it("is refused while it has snapshots", async () => {
    await shop.rbd(volume, "snap", "create", "--snap=before");
    expect(await shop.backend.probe(volume, "read")).toEqual({ kind: "data", signature: "1 snapshot" });
    expect(await refusal(volume)).toBe("VOLUME_NOT_EMPTY: it holds 1 snapshot");
    await shop.rbd(volume, "snap", "create", "--snap=again");
    expect(await refusal(volume)).toBe("VOLUME_NOT_EMPTY: it holds 2 snapshots");
  });

  it("is refused if it is the clone of an image with data", async () => {
    shop.writeData(volume, 5 * MIB);
    const clone = await cloneOf(volume);
    expect(await shop.backend.probe(clone, "allocation-map")).toEqual({ kind: "allocated" });
    expect(await shop.backend.probe(clone, "read")).toMatchObject({ kind: "data" });
    expect(await refusal(clone)).toMatch(/^VOLUME_NOT_EMPTY/);
  });

  it("is taken if it is the clone of an empty image: its snapshot stays empty for ever", async () => {
    const clone = await cloneOf(volume);
    await expectUsable(clone);
    await shop.rbd(clone, "flatten", "--no-progress");
    const io = (...commands: string[]) => qemuIo(shop.backend.qemuNode(clone, "key"), commands, passphrase);
    io("read -P 0x77 0 64k");
    expect((await shop.bytes(volume)).equals(Buffer.alloc(8 * MIB))).toBe(true);
  });

  it("is refused while another client has it open", async () => {
    const holder = await opener(volume);
    try {
      expect(await refusal(volume)).toMatch(/^VOLUME_BUSY: another client has it open \(127\.0\.0\.1:/);
    } finally {
      await holder.close();
    }
    await expectUsable(volume);
  });

  it("is refused for 30 s after a client was killed, and says so", async () => {
    const holder = await opener(volume);
    await holder.kill();
    expect(await refusal(volume)).toMatch(/^VOLUME_BUSY: .*; Ceph forgets one that died after 30 s$/);
  });

  it("is formatted by one at most of two hosts, whose locks do not know each other", async () => {
    for (let round = 0; round < 3; round++) {
      const image = await shop.makeEmpty(`both ${round}`);
      const hosts = ["one", "two"].map((name) =>
        makeBackend("rbd", shop.runner, join(shop.root, name), shop.settings),
      );
      const requests = hosts.map(() => requestFor(image));
      const results = await Promise.allSettled(
        hosts.map((host, index) => host.createEncrypted(requests[index]!)),
      );
      const winners = requests.filter((_, index) => results[index]!.status === "fulfilled");
      for (const result of results)
        if (result.status === "rejected")
          expect(["VOLUME_BUSY", "VOLUME_NOT_EMPTY", "LUKS_UUID_MISMATCH"]).toContain(
            (result.reason as LuksmithError).code,
          );
      expect(winners.length).toBeLessThanOrEqual(1);
      const probe = await shop.backend.probe(image, "read");
      if (winners.length === 0) expect(probe).toEqual({ kind: "empty" });
      else expect(probe).toMatchObject({ kind: "luks", header: { uuid: winners[0]!.uuid } });
    }
  });
});

/** Of the new format, which needs no protected snapshot. */
async function cloneOf(parent: RbdVolume): Promise<RbdVolume> {
  await shop.rbd(parent, "snap", "create", "--snap=base");
  const clone = shop.volume("clone");
  const { pool, namespace = "" } = parent;
  await cluster.rbd(
    "clone",
    ...["--rbd-default-clone-format=2", `--pool=${pool}`, `--namespace=${namespace}`],
    ...[`--image=${parent.image}`, "--snap=base"],
    ...[`--dest-pool=${pool}`, `--dest-namespace=${namespace}`, `--dest=${clone.image}`],
  );
  return clone;
}

describe("an image of another make", () => {
  it.each([
    ["without fast-diff", 8 * MIB, ["--image-feature=layering,exclusive-lock"]],
    ["without the exclusive lock", 8 * MIB, ["--image-feature=layering"]],
    ["that is striped", 16 * MIB, ["--stripe-unit=65536", "--stripe-count=4"]],
    ["of small objects", 8 * MIB, ["--object-size=64K"]],
  ])("is formatted: %s", async (_make, size, options) => {
    const image = shop.volume("other");
    await shop.rbd(image, "create", `--size=${size}B`, ...options);
    expect(await shop.backend.probe(image, "allocation-map")).toEqual({ kind: "empty" });
    await expectUsable(image);
  });

  it.each([
    ["without fast-diff", ["--image-feature=layering"]],
    ["that is striped", ["--stripe-unit=65536", "--stripe-count=4"]],
  ])("is not taken for empty: %s", async (_make, options) => {
    const image = shop.volume("other");
    await shop.rbd(image, "create", `--size=${16 * MIB}B`, ...options);
    shop.writeData(image, 16 * MIB - 512);
    expect(await refusal(image)).toMatch(/^VOLUME_NOT_EMPTY/);
  });

  it("is formatted where its size is no multiple of 512", async () => {
    const image = await shop.makeEmpty("odd", 8 * MIB + 100);
    await expectUsable(image);
    const probe = await shop.backend.probe(image, "header");
    if (probe.kind !== "luks") throw new Error(probe.kind);
    expect(await shop.backend.guestSize(image, probe.header)).toBe(BigInt(6 * MIB + 512));
    const { header } = probe;
    const grow = { volume: image, header, guestSize: BigInt(7 * MIB), passphrase, guest: "stopped" } as const;
    expect(await shop.backend.grow(grow)).toBe(BigInt(7 * MIB));
    expect((await shop.bytes(image)).length).toBe(9 * MIB);
  });
});

describe("a cluster that does not let us in", () => {
  it("says who may not write, and writes nothing", async () => {
    const reader = await cluster.user(`reader-${shop.namespace}`, {
      mon: "profile rbd",
      osd: "profile rbd-read-only",
    });
    const backend = backendFor({ user: reader.id });
    // to QEMU, reading is opening for writing
    expect(await backend.probe(volume, "read")).toMatchObject({
      kind: "unreadable",
      reason: expect.stringContaining("Operation not permitted") as string,
    });
    expect(await refusal(volume, backend)).toMatch(/^VOLUME_UNREADABLE: .*Operation not permitted/);
  });

  it.each<[string, () => { user?: string; conf?: string }, RegExp]>([
    ["the key is another one", () => ({ conf: confWithKeyring(wrongKey()) }), /does not let in the user/],
    ["there is no keyring", () => ({ conf: confWithKeyring("/missing") }), /does not let in the user/],
    ["there is no ceph.conf", () => ({ conf: "/missing/ceph.conf" }), /unable to open config file/],
    ["there is no such user", () => ({ user: "nobody" }), /does not let in the user/],
  ])("is unreadable and never absent: %s", async (_what, access, reason) => {
    const backend = backendFor(access());
    expect(await backend.probe(volume, "read")).toEqual({
      kind: "unreadable",
      reason: expect.stringMatching(reason) as string,
    });
    expect(await refusal(volume, backend)).toMatch(/^VOLUME_UNREADABLE/);
  });

  it("has no such image where the pool or the namespace is missing", async () => {
    for (const elsewhere of [{ pool: "nowhere" }, { namespace: "nowhere" }]) {
      const missing = { ...volume, ...elsewhere };
      const admin = backendFor({ user: "admin" });
      expect(await admin.probe(missing, "read")).toEqual({ kind: "absent" });
      expect(await codeOf(admin.createEncrypted(requestFor(missing)))).toBe("VOLUME_NOT_FOUND");
    }
  });

  function wrongKey(): string {
    const keyring = join(shop.root, "keyring");
    copyFileSync(shop.user.keyring, keyring);
    const key = readFileSync(join(cluster.dir, "client.admin.keyring"), "utf8").match(/key = .*/)![0];
    writeFileSync(keyring, readFileSync(keyring, "utf8").replace(/key = .*/, key));
    return keyring;
  }
});

describe("a cluster that does not answer", () => {
  it.each(["mon", "osd"] as const)("is given up after the time that it may take: %s", async (daemon) => {
    const backend = backendFor({ patience: 2 });
    process.kill(cluster.pids[daemon], "SIGSTOP");
    try {
      const started = performance.now();
      expect(await backend.probe(volume, "read")).toEqual({
        kind: "unreadable",
        reason: expect.stringMatching(/did not answer in time/) as string,
      });
      expect(await codeOf(backend.createEncrypted(requestFor(volume)))).toBe("VOLUME_UNREADABLE");
      expect(performance.now() - started).toBeLessThan(15_000);
    } finally {
      process.kill(cluster.pids[daemon], "SIGCONT");
    }
    await expectUsable(volume);
  });

  it("stops while the header is made: the error comes, and the next try mends what is left", async () => {
    const backend = backendFor({ patience: 2 });
    const request = requestFor(volume);
    shop.runner.before = ({ tool, args }) => {
      if (tool === "qemu-io" && args[0] === "-c") process.kill(cluster.pids.osd, "SIGSTOP");
    };
    try {
      expect(await codeOf(backend.createEncrypted(request))).toBe("VOLUME_WRITE_FAILED");
    } finally {
      process.kill(cluster.pids.osd, "SIGCONT");
      shop.runner.before = () => undefined;
    }
    await whenNobodyHasItOpen();
    expect(await shop.backend.createEncrypted(request)).toMatchObject({ uuid: request.uuid });
  }, 120_000);

  async function whenNobodyHasItOpen(): Promise<void> {
    while (!(await shop.rbd(volume, "status", "--format=json")).includes(`"watchers":[]`))
      await new Promise((resolve) => setTimeout(resolve, 200));
  }
});

it("gives the passphrase to no argument and no variable of any program", async () => {
  await shop.backend.createEncrypted(requestFor(volume));
  await shop.backend.testPassphrase(volume, passphrase);
  const text = passphrase.use((bytes) => bytes.toString());
  expect(shop.runner.commands.length).toBeGreaterThan(10);
  for (const { args, env = {} } of shop.runner.commands)
    expect([...args, ...Object.values(env)].join("\n").includes(text)).toBe(false);
});
