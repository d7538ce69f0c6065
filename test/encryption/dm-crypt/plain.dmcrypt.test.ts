import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { legacyMappingName } from "../../../src/encryption/dm-crypt/mapping-name.js";
import type { MappingRequest } from "../../../src/encryption/encryption-provider.js";
import { Secret } from "../../../src/secret/secret.js";
import type { PathVolume } from "../../../src/storage/volume.js";
import { VolumeGroup } from "../../lab/volume-group.js";
import { mapper, MappingLab, read, SIZE, write } from "./mapping-lab.js";

let lab: MappingLab;
let group: VolumeGroup;
let volume: PathVolume;
beforeEach(() => {
  lab = new MappingLab();
  group = new VolumeGroup();
  volume = { kind: "block", path: group.create("vm1_disk", SIZE), format: "raw" };
});
afterEach(() => {
  lab.closeAll();
  group[Symbol.dispose]();
  lab[Symbol.dispose]();
});

/** How OpenStack Nova opened its logical volumes: the key in hexadecimal on standard input (nova/privsep/libvirt.py). */
function openAsNova(
  key: string,
  { cipher, keySize }: { readonly cipher: string; readonly keySize: number },
): string {
  const name = legacyMappingName(volume);
  const shape = [`--cipher=${cipher}`, `--key-size=${keySize}`, "--key-file=-"];
  execFileSync("cryptsetup", ["create", name, volume.path, ...shape], { input: key, stdio: "pipe" });
  return mapper(name);
}

function asNova(changes: Partial<MappingRequest["spec"]>): MappingRequest {
  const spec = {
    format: "plain",
    cipher: "aes-xts-plain64",
    keySize: 512,
    ...changes,
    hash: NOVA_HASH,
  } as const;
  return lab.requestFor(volume, "plain", { name: legacyMappingName(volume), spec });
}

/** What cryptsetup hashes with where nobody says it; another one since cryptsetup 2.7. */
const NOVA_HASH =
  /default compiled-in .*plain: [^,]+, Key: \d+ bits, Password hashing: (\w+)/is.exec(
    execFileSync("cryptsetup", ["--help"], { encoding: "utf8" }),
  )?.[1] ?? "unknown";

it.each([
  ["aes-xts-plain64", 512],
  ["aes-xts-plain64", 256],
  ["aes-cbc-essiv:sha256", 256],
  ["aes-cbc-essiv:sha256", 128],
] as const)(
  "opens what Nova wrote with %s and a key of %i bits, and the other way round",
  async (cipher, keySize) => {
    // a newline in the middle ends nothing, and Nova's keys were as long as the key size says
    for (const key of [randomBytes(keySize / 8).toString("hex"), "a\nb"]) {
      using passphrase = Secret.own(Buffer.from(key));
      const request = asNova({ cipher, keySize });
      write(openAsNova(key, { cipher, keySize }), "written by Nova", SIZE - 4096);
      lab.closeElsewhere(request.name);
      const whole = readFileSync(volume.path).toString("latin1");
      expect(whole).not.toContain("written by Nova");

      await lab.mappings.open(request, passphrase);
      expect(lab.sizeOf(request.name)).toBe(SIZE);
      expect(read(mapper(request.name), 15, SIZE - 4096)).toBe("written by Nova");
      write(mapper(request.name), "written by Luksmith");
      await lab.mappings.close(request.name);

      expect(read(openAsNova(key, { cipher, keySize }), 19)).toBe("written by Luksmith");
      lab.closeElsewhere(request.name);
    }
  },
);

it("knows what cryptsetup hashes with", () => {
  expect(["ripemd160", "sha256"]).toContain(NOVA_HASH);
});

it("leaves a mapping that Nova has open alone", async () => {
  const device = openAsNova("0011", { cipher: "aes-xts-plain64", keySize: 512 });
  await expect(lab.open(asNova({}))).rejects.toMatchObject({ code: "MAPPING_FOREIGN" });
  expect(await lab.mappings.close(legacyMappingName(volume))).toEqual({ kind: "closed" });
  expect(existsSync(device)).toBe(true);
});

it("leaves a mapping alone that Nova has opened since, of another volume of that name", async () => {
  using elsewhere = new VolumeGroup();
  const path = elsewhere.create("vm1_disk", SIZE);
  const request = asNova({});
  await lab.open(request);
  lab.closeElsewhere(request.name);
  lab.openForeign(request.name, path);
  await expect(lab.open(request)).rejects.toMatchObject({ code: "MAPPING_FOREIGN" });
  expect(await lab.mappings.close(request.name)).toMatchObject({ kind: "busy" });
  expect(existsSync(mapper(request.name))).toBe(true);
  expect(lab.claimFiles()).toEqual([request.name]);
  lab.closeElsewhere(request.name);
});

it("hands the passphrase over by standard input alone", async () => {
  await lab.open(asNova({}));
  const opening = lab.runner.commands.find(({ args }) => args[0] === "open");
  expect(opening?.args.join(" ")).toBe(
    `open --batch-mode --type plain --cipher aes-xts-plain64 --key-size 512 --hash ${NOVA_HASH} --key-file - -- /proc/self/fd/3 vm1_disk-dmcrypt`,
  );
  lab.passphrase.use((bytes) => expect(opening?.input).toEqual(bytes));
});

it("opens no volume as plain that has a LUKS header", async () => {
  const request = asNova({});
  lab.format({ ...request, spec: { ...request.spec, format: "luks", hash: "sha256" } });
  await expect(lab.open(request)).rejects.toMatchObject({ code: "LUKS_UUID_MISMATCH" });
  expect(lab.claimFiles()).toEqual([]);
});
