import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { usageOf } from "../../src/host/libvirt/secret-usage.js";
import type { KeyUuid } from "../../src/keystore/key-uuid.js";
import { hostForThisFile } from "./support/each-test.js";
import { expectNothingLeft } from "./support/nothing-left.js";

const host = hostForThisFile();

type Undo = () => Promise<void> | void;

interface Leftover {
  readonly what: string;
  readonly leave: () => Promise<Undo> | Undo;
  readonly complaint: RegExp;
}

const LEFTOVERS: readonly Leftover[] = [
  {
    what: "a host secret of a guest that does not run",
    complaint: /^host secrets of guests/,
    async leave() {
      const uuid = randomUUID() as KeyUuid;
      const usage = usageOf({ uuid, guestId: randomUUID(), disk: "vda", opens: "disk", over: [] });
      const xml = `<secret ephemeral='yes'><uuid>${uuid}</uuid><usage type='volume'><volume>${usage}</volume></usage></secret>`;
      const undo = leaveFile(join(host().libvirt.dir, "secret.xml"), xml);
      await host().libvirt.virsh("secret-define", join(host().libvirt.dir, "secret.xml"));
      undo();
      return () => host().libvirt.virsh("secret-undefine", uuid).then();
    },
  },
  {
    what: "a mapping that nobody has claimed",
    complaint: /^mappings of guests/,
    leave() {
      dmsetup("create", "luksmith-left", "--table", "0 8 zero");
      return () => dmsetup("remove", "luksmith-left");
    },
  },
  {
    what: "the claimed mapping of a guest that does not run",
    complaint: /^mappings of guests/,
    leave() {
      const undo = leaveFile(claimPath("luksmith-left"), claimOf(randomUUID()));
      dmsetup("create", "luksmith-left", "--table", "0 8 zero");
      return () => {
        dmsetup("remove", "luksmith-left");
        undo();
      };
    },
  },
  {
    what: "a node of a mapping that is gone",
    complaint: /^mappings of guests/,
    leave() {
      execFileSync("mknod", ["/dev/mapper/luksmith-left", "b", "254", "200"]);
      return () => rmSync("/dev/mapper/luksmith-left");
    },
  },
  {
    what: "a claim of a guest that does not run",
    complaint: /^files in \/run\/luksmith/,
    leave: () => leaveFile(claimPath("luksmith-left"), claimOf(randomUUID())),
  },
  {
    what: "a claim that is none",
    complaint: /^files in \/run\/luksmith/,
    leave: () => leaveFile(claimPath(".luksmith-x.tmp"), ""),
  },
  {
    what: "a lock that holds something",
    complaint: /^files in \/run\/luksmith/,
    leave: () => leaveFile(host().inside("/run/luksmith/lock/left"), "x"),
  },
  {
    what: "a loop device on a volume",
    complaint: /^loop devices of guests/,
    leave() {
      const volume = join(host().images, "left.raw");
      const undo = leaveFile(volume, Buffer.alloc(4096));
      const device = execFileSync("losetup", ["--find", "--show", volume], { encoding: "utf8" }).trim();
      return () => {
        execFileSync("losetup", ["--detach", device]);
        undo();
      };
    },
  },
  {
    what: "a temporary file beside the volumes",
    complaint: /^temporary files/,
    leave: () => leaveFile(join(host().images, ".luksmith-left"), ""),
  },
  {
    what: "a temporary file in the keystore",
    complaint: /^temporary files/,
    leave: () => leaveFile(join(host().keystoreDirectory, "left.tmp"), ""),
  },
  {
    what: "a program that Luksmith started",
    complaint: /^processes of Luksmith/,
    leave: () => leaveProcess("flock /run/left tail -f /dev/null"),
  },
  {
    what: "a hook that hangs",
    complaint: /^processes of Luksmith/,
    async leave() {
      const script = join(host().pluginRoot, "dist/hooks/hangs.mjs");
      const undo = leaveFile(script, "setTimeout(() => {}, 60_000);");
      const end = await leaveProcess(`${process.execPath} ${script}`);
      return async () => {
        await end();
        undo();
      };
    },
  },
  {
    what: "a passphrase in a file",
    complaint: /^places that hold a passphrase/,
    leave: async () => leaveFile(host().inside("/var/log/luksmith/left"), `x${await somePassphrase()}`),
  },
  {
    what: "a passphrase in an environment",
    complaint: /^places that hold a passphrase/,
    leave: async () => leaveProcess(`env PASSPHRASE=${await somePassphrase()} tail -f /dev/null`),
  },
  {
    what: "a passphrase in a command line",
    complaint: /^places that hold a passphrase/,
    leave: async () => leaveProcess(`tail -f /dev/null ${await somePassphrase()}`),
  },
];

describe("what every test with a host ends with", () => {
  it.each(LEFTOVERS)("finds $what", async ({ leave, complaint }) => {
    const undo = await leave();
    try {
      await expect(expectNothingLeft(host())).rejects.toThrow(complaint);
    } finally {
      await undo();
    }
  });
});

function leaveFile(path: string, content: string | Uint8Array): () => void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return () => rmSync(path);
}

/** @param command a shell's */
async function leaveProcess(command: string): Promise<Undo> {
  const background = `exec ${command} </dev/null >/dev/null 2>&1`;
  const { stdout } = await host().libvirt.exec(["sh", "-c", `{ ${background}; } & echo $!; sleep 0.2`]);
  return () =>
    host()
      .libvirt.exec(["sh", "-c", `kill ${stdout.trim()}; sleep 0.2`])
      .then();
}

async function somePassphrase(): Promise<string> {
  const guest = await host().guest("web1", ["raw"]);
  await host().must("protect", "web1");
  const { passphrase } = await host().key((await host().blocks(guest))["vda"]);
  using secret = passphrase;
  return secret.use((bytes) => bytes.toString());
}

function claimPath(name: string): string {
  return host().inside(join("/run/luksmith/mappings", name));
}

function claimOf(guestId: string): string {
  return `${JSON.stringify({ name: "luksmith-left", guest: { id: guestId, name: "web1" }, disk: "vda" })}\n`;
}

function dmsetup(...args: readonly string[]): void {
  execFileSync("dmsetup", ["--verifyudev", ...args]);
}
