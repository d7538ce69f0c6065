import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { LuksHeader } from "../../../src/encryption/luks-header.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import type { RbdBackend } from "../../../src/storage/rbd/rbd.js";
import type { RbdVolume } from "../../../src/storage/volume.js";
import { type CephCluster, startCephCluster } from "../../lab/ceph-cluster.js";
import { RbdWorkshop } from "./rbd-workshop.js";
import { codeOf, guestSizeByQemu, makeBackend, MIB, qemuIo, SPEC } from "../workshop.js";

let cluster: CephCluster;
let shop: RbdWorkshop;
let volume: RbdVolume;
let header: LuksHeader;
const passphrase = Secret.randomPassphrase();

beforeAll(async () => {
  cluster = await startCephCluster();
});
afterAll(async () => {
  passphrase.dispose();
  await cluster.stop();
});
beforeEach(async () => {
  shop = await RbdWorkshop.make(cluster, "librbd");
  volume = await shop.makeEmpty("disk");
  header = await shop.backend.createEncrypted({ volume, uuid: newKeyUuid(), spec: SPEC, passphrase });
});
afterEach(() => shop[Symbol.asyncDispose]());

/** As a guest's QEMU opens it, which decrypts by itself or leaves it to librbd. */
function node(engine: "qemu" | "librbd") {
  const rbd = { ...shop.settings.rbd, engine };
  return makeBackend("rbd", shop.runner, shop.lockDirectory, { ...shop.settings, rbd }).qemuNode(
    volume,
    "key",
  );
}

const io = (engine: "qemu" | "librbd", ...commands: string[]) => qemuIo(node(engine), commands, passphrase);

describe("an image that librbd decrypts", () => {
  it("shows its guest as many bytes as QEMU does", () => {
    for (const engine of ["qemu", "librbd"] as const)
      expect(guestSizeByQemu(node(engine), passphrase)).toBe(BigInt(6 * MIB));
  });

  it("is read by each engine as the other has written it", async () => {
    io("librbd", "write -P 0x55 0 64k", "write -P 0x56 2M 4k");
    io("qemu", "read -P 0x55 0 64k", "read -P 0x56 2M 4k", "write -P 0x57 4096 512", "write -P 0x58 5M 1M");
    io("librbd", "read -P 0x57 4096 512", "read -P 0x55 4608 512", "read -P 0x58 5M 1M");
    expect((await shop.bytes(volume)).includes(Buffer.alloc(64, 0x55))).toBe(false);
  });

  it("has zeros where nothing was written, which QEMU takes for something encrypted", () => {
    io("librbd", "read -P 0 4M 64k");
    expect(() => io("qemu", "read -P 0 4M 64k")).toThrow();
  });

  it("opens with its passphrase only", () => {
    using wrong = Secret.randomPassphrase();
    expect(() => qemuIo(node("librbd"), ["read 0 512"], wrong)).toThrow();
    io("librbd", "read 0 512");
  });

  it("grows while its guest is shut off, and keeps what it has", async () => {
    io("librbd", "write -P 0x55 5M 1M");
    const guestSize = BigInt(10 * MIB + 512);
    expect(await shop.backend.grow({ volume, header, guestSize, passphrase, guest: "stopped" })).toBe(
      guestSize,
    );
    expect(guestSizeByQemu(node("librbd"), passphrase)).toBe(guestSize);
    io("librbd", "read -P 0x55 5M 1M", `write -P 0x66 10M 512`);
    io("qemu", "read -P 0x55 5M 1M", `read -P 0x66 10M 512`);
  });

  it("is not chosen for new disks where the installed librbd loses data, nor for any clone", async () => {
    const backend = shop.backend as RbdBackend;
    const version = await cluster.rbd("--version");
    const isMended = /^ceph version (17\.2\.([89]|\d\d)|18\.2\.([5-9]|\d\d)|19\.2|[2-9]\d)/.test(version);
    const versions = () => Promise.resolve({ qemu: "7.2.22", libvirt: "9.0.0" });
    if (isMended) expect(await backend.chooseEngine(volume, versions)).toBe("librbd");
    else expect(await codeOf(backend.chooseEngine(volume, versions))).toBe("TRAIT_MISSING");

    expect(await backend.refusedEngine(volume)).toBeUndefined();
    await shop.rbd(volume, "snap", "create", "--snap=base");
    const { pool, namespace = "" } = volume;
    await cluster.rbd(
      "clone",
      ...["--rbd-default-clone-format=2", `--pool=${pool}`, `--namespace=${namespace}`],
      ...[`--image=${volume.image}`, "--snap=base"],
      ...[`--dest-pool=${pool}`, `--dest-namespace=${namespace}`, "--dest=clone"],
    );
    expect(await backend.refusedEngine(shop.volume("clone"))).toMatchObject({
      code: "TRAIT_MISSING",
    });
  });
});
