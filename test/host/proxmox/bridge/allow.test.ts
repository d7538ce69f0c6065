import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { AllowRequest, BridgeRequest } from "../../../../src/generated/bridge-request.js";
import { allow } from "../../../../src/host/proxmox/bridge/allow.js";
import { parseRequest } from "../../../../src/host/proxmox/bridge/parse-request.js";
import { ProxmoxWorld } from "../proxmox-world.js";

const PLAIN = "local:100/vm-100-disk-1.raw";
const TAGGED = { name: "web", tags: "encrypt", scsi0: "enc:vm-100-disk-0,size=4M" };

function isAllow(request: BridgeRequest): request is AllowRequest & { version: 1 } {
  return request.op === "allow";
}

/** No volume is there, and no keystore: what looked for one would fail. */
async function ask(config: Record<string, string>, disk: string, world = new ProxmoxWorld()) {
  const text = JSON.stringify({ version: 1, op: "allow", vmid: 100, config, disk, reason: "attach" });
  const request = parseRequest(text);
  if (!isAllow(request)) throw new Error("it is read as something else");
  const answer = await allow(request, world);
  expect(readdirSync(world.root).sort()).toEqual(["base", "etc"]);
  return answer;
}

describe("a disk that a running guest is given", () => {
  it("may be encrypted, or anything where nobody asks", async () => {
    expect(await ask({ ...TAGGED, scsi1: "enc:vm-100-disk-1" }, "enc:vm-100-disk-1")).toEqual({});
    expect(await ask({ name: "web", scsi1: `${PLAIN},size=4M` }, PLAIN)).toEqual({});
    expect(await ask({ ...TAGGED, ide2: "local:iso/a.iso,media=cdrom" }, "local:iso/a.iso")).toEqual({});
  });

  it.each([
    [PLAIN, `${PLAIN},size=4M,discard=on`],
    ["/dev/disk/by-id/x", "file=/dev/disk/by-id/x"],
  ])("may not be plain where the guest's disks must be encrypted: %s", async (disk, value) => {
    await expect(ask({ ...TAGGED, scsi1: value }, disk)).rejects.toMatchObject({
      code: "DISK_NOT_ENCRYPTED",
      message: expect.stringContaining("cannot give guest web disk scsi1") as string,
      hint: expect.stringContaining("qm disk move 100 scsi1 enc --delete 1") as string,
    });
  });

  it("may not be plain where a rule says so, nor on storage that was encrypted", async () => {
    const rules = [{ name: "local", storage: "local:*", encrypt: true }];
    const world = new ProxmoxWorld({ rules });
    await expect(ask({ scsi1: PLAIN }, PLAIN, world)).rejects.toMatchObject({ code: "DISK_NOT_ENCRYPTED" });
    const stripped = new ProxmoxWorld();
    stripped.write("etc/pve/storage.cfg", "dir: local\n\tpath /v\n");
    const config = { scsi1: "enc:vm-100-disk-1" };
    await expect(ask(config, "enc:vm-100-disk-1", stripped)).rejects.toMatchObject({
      code: "STORAGE_CHANGED",
    });
  });

  it("is judged alone: other disks and arguments wait for the next start", async () => {
    const config = { ...TAGGED, scsi2: PLAIN, args: "-drive file=/x", scsi1: "enc:vm-100-disk-1" };
    expect(await ask(config, "enc:vm-100-disk-1")).toEqual({});
  });

  it("is refused if the configuration does not have it", async () => {
    await expect(ask(TAGGED, PLAIN)).rejects.toMatchObject({ code: "EVENT_INVALID" });
  });
});
