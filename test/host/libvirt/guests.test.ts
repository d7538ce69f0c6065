import { describe, expect, it } from "vitest";
import { LibvirtGuests } from "../../../src/host/libvirt/guests.js";
import { Virsh } from "../../../src/host/libvirt/virsh.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { domainXml } from "../../lab/test-domain.js";
import { RecordingRunner } from "./recording-runner.js";

const [a, b] = ["037ee078-878a-4acb-8b89-10264c853ff0", "c1d0ee4f-6058-494e-b0f2-feb87e6e5eaf"];
const disk = "<disk type='file'><source file='/images/a.raw'/><target dev='vda' bus='virtio'/></disk>";

function guestsOn(...answers: ConstructorParameters<typeof RecordingRunner>) {
  const runner = new RecordingRunner(...answers);
  return { runner, guests: new LibvirtGuests(new Virsh("qemu:///system", runner)) };
}

/** What virsh says about domains of these names, the first of them running. */
function list(...names: [id: string, name: string][]): { stdout: string } {
  const running = names[0] === undefined ? "" : `${names[0][0]}\n`;
  return { stdout: `${running}\n${names.map((name) => name.join(" ")).join("\n")}\n` };
}

describe("listing guests", () => {
  it("asks once, and tells who runs", async () => {
    const { runner, guests } = guestsOn(list([a, "web 1"], [b, "--all"]));
    expect(await guests.list()).toEqual([
      { id: a, name: "web 1", running: true },
      { id: b, name: "--all", running: false },
    ]);
    expect(runner.scripts).toEqual(["list --uuid; list --all --uuid --name"]);
  });

  it("keeps spaces of a name, but for trailing ones, which old versions of virsh add", async () => {
    const { guests } = guestsOn(list([a, " lead  in                "]));
    expect(await guests.list()).toMatchObject([{ name: " lead  in" }]);
  });

  it("does not take a failure for a host without guests", async () => {
    const { guests } = guestsOn({ exitCode: 1, stderr: "error: Failed to list domains\n" });
    await expect(guests.list()).rejects.toMatchObject({ code: "TOOL_FAILED" });
  });
});

describe("reading a guest", () => {
  it.each(["-x", "--all", "7", "; destroy d1", "q'\"$(x)`", b])(
    "never tells virsh the name %j",
    async (name) => {
      const { runner, guests } = guestsOn(list([a, name]), {
        stdout: `${a}\n\n${domainXml({ name, uuid: a })}\n`,
      });
      expect(await guests.read(name)).toMatchObject({ id: a, name, running: true });
      expect(runner.scripts[1]).toBe(
        `list --all --persistent --uuid; list --all --with-managed-save --uuid; dumpxml --inactive --security-info --domain ${a}`,
      );
    },
  );

  it("prefers the UUID to a name that looks like it", async () => {
    const { guests } = guestsOn(list([a, b], [b, "web1"]), {
      stdout: `${b}\n${domainXml({ name: "web1", uuid: b })}`,
    });
    expect(await guests.read(b.toUpperCase())).toMatchObject({ id: b, name: "web1", running: false });
  });

  it("refuses to choose between names that virsh shows alike", async () => {
    const { guests } = guestsOn(list([a, "web1"], [b, "web1 "]));
    await expect(guests.read("web1")).rejects.toMatchObject({ code: "GUEST_NOT_FOUND" });
  });

  it.each([
    ["is not there", [list([b, "web2"])]],
    ["vanished meanwhile", [list([a, "web1"]), { exitCode: 1, stderr: "error: failed to get domain\n" }]],
    ["is transient", [list([a, "web1"]), { stdout: `${b}\n${domainXml({ name: "web1", uuid: a })}` }]],
  ])("says that it %s", async (_, answers) => {
    const { guests } = guestsOn(...answers);
    await expect(guests.read("web1")).rejects.toMatchObject({ code: "GUEST_NOT_FOUND" });
  });
});

describe("reading a running guest", () => {
  it("asks for what it runs with, by its UUID", async () => {
    const { runner, guests } = guestsOn({ stdout: domainXml({ name: "-x", uuid: a, devices: disk }) });
    const guest = await guests.readRunning({ id: a, name: "-x" });
    expect(runner.scripts).toEqual([`dumpxml --security-info --domain ${a}`]);
    expect(guest.disks.mapping["vda"]?.volume).toMatchObject({ path: "/images/a.raw" });
  });

  it("says that it is gone", async () => {
    const { guests } = guestsOn({ exitCode: 1, stderr: "error: failed to get domain\n" });
    await expect(guests.readRunning({ id: a, name: "web1" })).rejects.toMatchObject({
      code: "GUEST_NOT_FOUND",
    });
  });
});

describe("annotating a guest", () => {
  const uuid = newKeyUuid();
  const blocks = new Map([["vda", { format: "luks", secretUuid: uuid } as const]]);
  const xml = `${domainXml({ name: "web1", uuid: a, devices: disk })}\n`;

  it("defines the configuration with the block, from memory", async () => {
    const read = { stdout: `${a}\n\n${xml}` };
    const { runner, guests } = guestsOn(list([a, "web1"]), read, read, {});
    await guests.annotate(await guests.read("web1"), blocks);
    expect(runner.scripts.at(-1)).toBe("define /proc/self/fd/3");
    expect(runner.commands.at(-1)?.files[0]).toContain(uuid);
  });

  it("refuses when the configuration changed since it was read", async () => {
    const changed = { stdout: `${a}\n\n${xml.replace("web1", "web2")}` };
    const { runner, guests } = guestsOn(list([a, "web1"]), { stdout: `${a}\n\n${xml}` }, changed);
    const guest = await guests.read("web1");
    await expect(guests.annotate(guest, blocks)).rejects.toMatchObject({ code: "GUEST_CHANGED" });
    expect(runner.commands).toHaveLength(3);
  });

  it("says when libvirt does not take it", async () => {
    const read = { stdout: `${a}\n\n${xml}` };
    const { guests } = guestsOn(list([a, "web1"]), read, read, { exitCode: 1, stderr: "error: no\n" });
    const guest = await guests.read("web1");
    await expect(guests.annotate(guest, blocks)).rejects.toMatchObject({ code: "TOOL_FAILED" });
  });
});
