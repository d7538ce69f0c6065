import { rmSync } from "node:fs";
import { expect, it } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import { guestOn } from "./support/mapped.js";
import { volumesForThisFile } from "./support/volume-group.js";

const volumes = volumesForThisFile();
const host = hostForThisFile();

const ENCRYPTION = "COMPUTE_EPHEMERAL_ENCRYPTION";

interface Capabilities {
  readonly traits: string[];
  readonly backends: { readonly type: string; readonly traits: string[] }[];
}

async function capabilities(settings: object): Promise<Capabilities> {
  await host().settings({ version: 1, ...settings });
  return (await host().json("capabilities")) as Capabilities;
}

function on(type: string, { backends }: Capabilities): string[] {
  return (backends.find((backend) => backend.type === type)?.traits ?? [])
    .filter((trait) => trait !== ENCRYPTION)
    .map((trait) => trait.replace(`${ENCRYPTION}_`, ""));
}

it("a host with dm-crypt offers what the settings leave of it, by storage", async () => {
  // libvirtd looks at every QEMU when it is first asked, which takes long on this machine
  await host().libvirt.virsh("version", "--daemon");
  const usual = await capabilities({});
  expect(usual.traits).toEqual([ENCRYPTION, `${ENCRYPTION}_LUKS`, `${ENCRYPTION}_LUKSV2`]);
  expect([on("raw", usual), on("lvm", usual), on("qcow2", usual)]).toEqual([
    ...[["LUKS", "LUKSV2"], ["LUKS", "LUKSV2"], ["LUKS"]],
  ]);
  const legacy = await capabilities({ legacy: { enabled: true } });
  expect(legacy.traits).toContain(`${ENCRYPTION}_PLAIN`);
  expect([on("raw", legacy), on("lvm", legacy)]).toEqual([
    ["LUKS", "LUKSV2"],
    ["LUKS", "LUKSV2", "PLAIN"],
  ]);
  const native = await capabilities({ encryption: { engine: "native" }, legacy: { enabled: true } });
  expect(native.traits).toEqual([ENCRYPTION, `${ENCRYPTION}_LUKS`]);
  const dmCrypt = await capabilities({ encryption: { engine: "dm-crypt" } });
  expect([on("raw", dmCrypt), on("qcow2", dmCrypt)]).toEqual([["LUKS", "LUKSV2"], []]);
});

it("a guest whose disks are mappings can run here, and doctor says that it needs dm-crypt", async () => {
  await host().settings({ version: 1, profiles: [{ name: "v2", format: "luksv2" }, { name: "default" }] });
  const guest = await guestOn(host(), "web1", volumes.newVolume());
  await host().must("protect", "web1", "--profile", "v2");
  expect(await host().json("capabilities", "--for", "web1", "--with-keys")).toMatchObject({
    able: true,
    disks: [{ format: "luksv2", provider: "dm-crypt", backend: "lvm", keyState: "found" }],
  });
  expect(await host().must("doctor")).toMatch(
    /^ok: dm-crypt: needed for profile v2 \(luksv2\), guest web1 \(vda\)$/m,
  );
  // elsewhere, where the volume is not
  const xml = await host().definition(guest);
  const path = host().newPath("xml");
  await host().libvirt.exec(["tee", path], {
    input: xml.replace(/(?<=volume=['"])[^'"]+/, "/dev/none/web1"),
  });
  const { disks } = (await host().json("capabilities", "--for", path)) as { disks: object[] };
  expect(disks).toMatchObject([{ volume: "/dev/none/web1", format: "luksv2", provider: "dm-crypt" }]);
  rmSync(path);
});
