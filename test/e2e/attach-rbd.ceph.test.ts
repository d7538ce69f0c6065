import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type CephCluster, type CephUser, startCephCluster } from "../lab/ceph-cluster.js";
import { hostForThisFile } from "./support/each-test.js";
import { MIB } from "./support/volumes.js";

const TIMEOUT = 240_000;

let cluster: CephCluster;
let user: CephUser;
beforeAll(async () => {
  cluster = await startCephCluster();
  user = await cluster.user("libvirt", { mon: "profile rbd", osd: "profile rbd pool=rbd" });
}, TIMEOUT);
const host = hostForThisFile();
afterAll(() => cluster.stop());

async function newImage(): Promise<string> {
  const image = `disk ${randomUUID()}`;
  await cluster.rbd("create", `--size=${8 * MIB}B`, "--pool=rbd", `--image=${image}`);
  return image;
}

/** libvirt's secret for the cluster's user. */
async function cephSecret(): Promise<string> {
  const uuid = randomUUID();
  const { libvirt } = host();
  const usage = `<usage type='ceph'><name>${uuid}</name></usage>`;
  const xml = `<secret ephemeral='yes' private='yes'><uuid>${uuid}</uuid>${usage}</secret>`;
  await libvirt.exec(["sh", "-c", "cat >/run/secret.xml"], { input: xml });
  await libvirt.virsh("secret-define", "/run/secret.xml");
  await libvirt.exec(["rm", "/run/secret.xml"]);
  await libvirt.virsh("secret-set-value", uuid, user.key);
  return uuid;
}

it(
  "an image is attached, reached as the guest's other images are, and taken away",
  { timeout: TIMEOUT },
  async () => {
    const secret = await cephSecret();
    const devices = `<disk type='network' device='disk'>
    <driver name='qemu' type='raw'/>
    <source protocol='rbd' name='rbd/${await newImage()}'>
      <config file='${cluster.conf}'/>
      <auth username='${user.id}'><secret type='ceph' uuid='${secret}'/></auth>
    </source>
    <target dev='vda' bus='virtio'/>
  </disk>`;
    const guest = await host().define({ name: "web1", disks: [], devices });
    await host().must("protect", "web1");
    await host().start(guest);
    const before = await host().libvirt.secretsLeft();

    const image = `rbd:rbd/${await newImage()}`;
    await host().must("attach", "web1", "sdb", image, "--bus", "usb");
    expect(await host().json("status", "web1")).toMatchObject({
      guests: [{ disks: [{ protection: "encrypted" }, { volume: image, protection: "encrypted" }] }],
    });
    expect(await host().libvirt.secretsLeft()).toHaveLength(before.length + 1);
    expect((await host().luksmith("attach", "web1", "sdc", image)).stderr).toContain(
      "disk sdb of guest web1 has volume",
    );

    const said = await host().must("detach", "web1", "sdb");
    expect(said).toContain(`luksmith attach web1 sdb '${image}'\n`);
    expect((await host().libvirt.secretsLeft()).sort()).toEqual(before.sort());
  },
);
