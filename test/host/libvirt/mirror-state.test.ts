import { describe, expect, test } from "vitest";
import { isMarked, mirrorState } from "../../../src/host/libvirt/mirror-state.js";
import { mirrorXml } from "../../../src/host/libvirt/mirror-xml.js";
import { parseKeyUuid } from "../../../src/keystore/key-uuid.js";
import { domainXml } from "../../lab/test-domain.js";

const KEY = parseKeyUuid("a9640017-4b02-4a0e-a37d-44d8017fc615")!;
const JOB = " type=Block Copy\n bandwidth=20\n cur=33554432\n end=67108864\n";

const mirror = (ready: string, job = "copy") =>
  `<mirror type='file' file='/new.raw' format='raw' job='${job}'${ready}>
    <format type='raw'/>
    <source file='/new.raw' index='4'>
      <encryption format='luks' engine='qemu'><secret type='passphrase' uuid='${KEY}'/></encryption>
    </source>
  </mirror>`;

function live(inDisk: string, metadata = ""): string {
  const disk = `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/old.raw' index='1'/>
    ${inDisk}<target dev='vda' bus='virtio'/></disk>`;
  return domainXml({ name: "vm", devices: disk, metadata });
}

const stateOf = (inDisk: string, job = JOB) =>
  mirrorState({ state: "running", xml: live(inDisk), job }, "vda");

describe("what libvirt says of a disk", () => {
  test("is a copy with its target, its key, and how far it is", () => {
    expect(stateOf(mirror(""))).toMatchObject({
      ...{ kind: "copying", to: "/new.raw", secretUuid: KEY },
      ...{ done: 33554432n, total: 67108864n },
    });
  });

  test.each([
    ["ready", mirror(" ready='yes'"), JOB, "ready"],
    ["being given to the guest", mirror(" ready='pivot'"), JOB, "busy"],
    ["being given up", mirror(" ready='abort'"), JOB, "busy"],
    ["a commit of a snapshot", mirror("", "active-commit"), " type=Active Block Commit\n", "busy"],
    ["a pull of a base", "", " type=Block Pull\n", "busy"],
    ["nothing", "", "", "none"],
  ])("is %s", (_, inDisk, job, kind) => {
    expect(stateOf(inDisk, job).kind).toBe(kind);
  });

  test("tells that we have paused it by a mark of its own namespace alone", () => {
    const xml = (metadata: string) => ({ state: "paused", xml: live("", metadata), job: "" });
    expect(isMarked(xml("<luksmith:paused xmlns:luksmith='urn:luksmith:paused:1'/>"))).toBe(true);
    expect(isMarked(xml("<a:note xmlns:a='urn:a'>urn:luksmith:paused:1</a:note>"))).toBe(false);
    expect(isMarked(xml(""))).toBe(false);
  });
});

describe("the disk that libvirt copies to", () => {
  test("has its key inside its source", () => {
    const volume = { kind: "file", path: "/a&b.qcow2", format: "qcow2" } as const;
    expect(mirrorXml({ volume, secretUuid: KEY })).toBe(
      `<disk type="file" device="disk"><driver name="qemu" type="qcow2"/><source file="/a&amp;b.qcow2">` +
        `<encryption format="luks"><secret type="passphrase" uuid="${KEY}"/></encryption></source></disk>`,
    );
  });

  test("is plain without one, and may be a device", () => {
    const volume = { kind: "block", path: "/dev/vg/new", format: "raw" } as const;
    expect(mirrorXml({ volume })).toBe(
      `<disk type="block" device="disk"><driver name="qemu" type="raw"/><source dev="/dev/vg/new"/></disk>`,
    );
  });
});
