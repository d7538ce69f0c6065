import { execa } from "execa";
import { randomUUID } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import type { LibvirtHost } from "../../lab/libvirt-host.js";
import { diskXml, hookedHostsForThisFile, LISTENERS, until } from "./hooked-hosts.js";

const ANSWER = {
  version: "9.9.9",
  problem: { code: "KEY_NOT_FOUND", what: `cannot take over guest "web1"`, why: "<no>", hint: "'x'" },
  disks: [{ device: "vda", volume: "/v", key: randomUUID(), openedBy: "native", content: "same" }],
};

const hosts = hookedHostsForThisFile();

describe("asking a target", () => {
  const ask = () => hosts().source.migration.ask(hosts().guest, hosts().b.uri);

  /** UUIDs of all domains. */
  const domains = async (host: LibvirtHost) =>
    (await host.virsh("list", "--all", "--uuid")).split("\n").filter(Boolean);

  async function expectNothingLeft(): Promise<void> {
    expect(await domains(hosts().a)).toEqual([hosts().guest.id]);
    expect(await domains(hosts().b)).toEqual([]);
  }

  it("gets its answer, and leaves nothing", async () => {
    await hosts().startGuest(diskXml() + LISTENERS);
    await hosts().behave({ answer: JSON.stringify(ANSWER) });
    expect(await ask()).toEqual(ANSWER);
    const [sight, another] = await hosts().sights();
    expect(another).toBeUndefined();
    expect(sight).toMatchObject({ cause: "check", guest: hosts().guest });
    expect(sight?.guest.configuration).toBe(await hosts().a.virsh("dumpxml", "--domain", hosts().guest.id));
    expect(sight?.guest.configuration).not.toContain("geheim12");
    await expectNothingLeft();
  });

  it("gets the answer for a guest that does not run, and a long one whole", async () => {
    await hosts().defineGuest(diskXml());
    const long = { ...ANSWER, disks: Array.from({ length: 200 }, () => ANSWER.disks[0]) };
    await hosts().behave({ answer: JSON.stringify(long) });
    expect(await ask()).toEqual(long);
    expect((await hosts().sights())[0]?.guest.configuration).toBe(
      await hosts().a.virsh("dumpxml", "--inactive", "--domain", hosts().guest.id),
    );
    await expectNothingLeft();
  });

  it("gets none where luksmith is not, or knows of no checks", async () => {
    await hosts().startGuest(diskXml());
    expect(await ask()).toBeUndefined();
    await expectNothingLeft();
    await hosts().target.uninstall("apply");
    expect(await ask()).toBeUndefined();
    await expectNothingLeft();
  });

  it("gets what the shim says where luksmith's program is gone", async () => {
    await hosts().startGuest("");
    const hook = join(hosts().hooks, "dist/hooks/pre-migrate.js");
    const program = await readFile(hook);
    await rm(hook);
    try {
      await expect(ask()).rejects.toMatchObject({
        code: "MIGRATION_ANSWER_INVALID",
        why: expect.stringMatching(/luksmith is not there: .*pre-migrate\.js is missing/) as string,
        hint: "install luksmith again, then run: luksmith install --host libvirt",
      });
    } finally {
      await writeFile(hook, program);
    }
    await expectNothingLeft();
  });

  it("tells that the target's libvirt is gone", async () => {
    await hosts().startGuest("");
    await hosts().b.stopDaemon();
    try {
      await expect(ask()).rejects.toMatchObject({
        code: "HOST_UNAVAILABLE",
        message: expect.stringContaining(hosts().b.uri) as string,
      });
    } finally {
      await hosts().b.startDaemon();
    }
    await expectNothingLeft();
  });

  it("tells that the target is this very host", async () => {
    await hosts().startGuest("");
    await expect(hosts().source.migration.ask(hosts().guest, hosts().a.uri)).rejects.toMatchObject({
      code: "GUEST_EXISTS",
    });
    await expectNothingLeft();
  });

  it("takes away what was left when it and its virsh were killed meanwhile", async () => {
    await hosts().startGuest("");
    await hosts().behave({ answer: JSON.stringify(ANSWER) });
    await writeFile(join(hosts().hooks, "block"), "");
    const killed = askInGroup();
    await hookWaits();
    process.kill(-killed.pid!, "SIGKILL");
    await killed;
    expect(await domains(hosts().a)).toHaveLength(2);
    await rm(join(hosts().hooks, "block"));
    expect(await ask()).toEqual(ANSWER);
    await expectNothingLeft();
  });

  it("takes away what was left on a target that knows of no checks when it was killed meanwhile", async () => {
    await hosts().startGuest("");
    await writeFile(join(hosts().hooks, "block"), "");
    const killed = askInGroup();
    await hookWaits();
    killed.kill("SIGKILL");
    await killed;
    await rm(join(hosts().hooks, "block"));
    await until(async () => (await domains(hosts().b)).length === 1);
    expect(await ask()).toBeUndefined();
    await expectNothingLeft();
  });

  const hookWaits = () => until(async () => (await hosts().sights()).length === 1);

  /** A process of its own with its virsh, which ends only with them. */
  function askInGroup() {
    const adapter = fileURLToPath(
      new URL("../../../src/host/libvirt/libvirt-host-adapter.ts", import.meta.url),
    );
    const runner = fileURLToPath(new URL("../../../src/exec/command-runner.ts", import.meta.url));
    const program = `import { LibvirtHostAdapter } from ${JSON.stringify(adapter)};
import { ExecaCommandRunner } from ${JSON.stringify(runner)};
const source = new LibvirtHostAdapter(${JSON.stringify({ libvirtUri: hosts().a.uri })}, new ExecaCommandRunner());
await source.migration.ask(${JSON.stringify(hosts().guest)}, ${JSON.stringify(hosts().b.uri)});`;
    const args = ["--import", "tsx", "--input-type", "module", "--eval", program];
    return execa("node", args, { detached: true, reject: false });
  }
});
