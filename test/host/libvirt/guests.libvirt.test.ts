import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { LibvirtHostAdapter } from "../../../src/host/libvirt/libvirt-host-adapter.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { type LibvirtHost, startLibvirtHost } from "../../lab/libvirt-host.js";
import { domainXml } from "../../lab/test-domain.js";

let host: LibvirtHost;
let adapter: LibvirtHostAdapter;

beforeAll(async () => {
  host = await startLibvirtHost();
  adapter = new LibvirtHostAdapter({ libvirtUri: host.uri }, new ExecaCommandRunner());
});

afterAll(() => host.stop());

const devices = `
  <graphics type='vnc' autoport='yes' passwd='for-me'/>
  <disk type='file'><source file='/images/a.raw'/><target dev='vda' bus='virtio'/></disk>`;

const persistentXml = (id: string) => host.virsh("dumpxml", "--inactive", "--security-info", id);

describe("guests of a real libvirtd", () => {
  it("are found by every name that libvirt takes", async () => {
    const victim = newKeyUuid();
    await host.define(domainXml({ name: "victim", uuid: victim }));
    const names = [
      "-x",
      "--all",
      "1",
      victim,
      "; destroy victim",
      `q'"$(x)\``,
      " lead",
      "a b  c",
      "ünï",
      "back\\s",
    ];
    for (const name of names) await host.define(domainXml({ name }));
    await host.virsh("start", "victim");
    const listed = await adapter.listGuests();
    expect(listed.map(({ name }) => name).sort()).toEqual(["victim", ...names].sort());
    expect(listed.filter(({ running }) => running)).toEqual([{ id: victim, name: "victim", running: true }]);
    for (const name of names.filter((name) => name !== victim)) {
      expect(await adapter.readGuest(name)).toMatchObject({ name, running: false });
    }
    expect(await adapter.readGuest(victim)).toMatchObject({ name: "victim", running: true });
    for (const { id } of listed) await host.virsh("undefine", id);
    await host.virsh("destroy", victim);
  });

  it("are annotated and unannotated, with all else kept", async () => {
    const [id, secretUuid] = [newKeyUuid(), newKeyUuid()];
    await host.define(domainXml({ name: "web1", uuid: id, devices }));
    const before = await persistentXml(id);
    const guest = await adapter.readGuest("web1");
    const blocks = new Map([["vda", { format: "luks", secretUuid } as const]]);
    await adapter.annotate(guest, blocks);
    const annotated = await adapter.readGuest(id);
    expect(annotated.disks.mapping["vda"]).toMatchObject({
      encrypted: true,
      encryption_secret_uuid: secretUuid,
    });
    expect(annotated.configuration).toContain("for-me");
    await adapter.unannotate(guest, blocks);
    expect(await persistentXml(id)).toBe(before);
  });

  it("keep an edit that was made between annotating and its undo", async () => {
    await host.define(domainXml({ name: "web3", devices }));
    const guest = await adapter.readGuest("web3");
    const blocks = new Map([["vda", { format: "luks", secretUuid: newKeyUuid() } as const]]);
    await adapter.annotate(guest, blocks);
    await host.virsh("desc", "web3", "--config", "somebody was here");
    await adapter.unannotate(guest, blocks);
    const left = await persistentXml("web3");
    expect(left).toContain("somebody was here");
    expect(left).not.toContain("<encryption");
  });

  it("are not annotated when somebody changed them since they were read", async () => {
    await host.define(domainXml({ name: "web2", devices }));
    const guest = await adapter.readGuest("web2");
    await host.virsh("desc", "web2", "--config", "somebody was here");
    const changed = await persistentXml("web2");
    const annotate = adapter.annotate(
      guest,
      new Map([["vda", { format: "luks", secretUuid: newKeyUuid() }]]),
    );
    await expect(annotate).rejects.toMatchObject({ code: "GUEST_CHANGED" });
    expect(await persistentXml("web2")).toBe(changed);
  });

  it("are not found when they do not exist, or exist only while they run", async () => {
    const xml = domainXml({ name: "transient" });
    await host.exec(["sh", "-c", "cat >/run/transient.xml"], { input: xml });
    await host.virsh("create", "/run/transient.xml");
    await expect(adapter.readGuest("transient")).rejects.toMatchObject({ code: "GUEST_NOT_FOUND" });
    await expect(adapter.readGuest("nobody")).rejects.toMatchObject({ code: "GUEST_NOT_FOUND" });
    await expect(adapter.readGuest(newKeyUuid())).rejects.toMatchObject({ code: "GUEST_NOT_FOUND" });
    await host.virsh("destroy", "transient");
  });

  it("run on versions that libvirt tells", async () => {
    const { qemu, libvirt } = await adapter.versions();
    expect([qemu, libvirt]).toEqual([
      expect.stringMatching(/^\d+\.\d+\.\d+$/),
      expect.stringMatching(/^\d+\.\d+\.\d+$/),
    ]);
  });
});
