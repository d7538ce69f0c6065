import { existsSync } from "node:fs";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import { FLAVOR_ASKS } from "./support/guests.js";
import { luksUuidOf, makeVolume } from "./support/volumes.js";

const host = hostForThisFile();

describe.each([
  ["all that is special to a shell", `my  "guest"; it's $(touch pwned) \`touch pwned\`|touch pwned& \\ `],
  // libvirt itself cuts names after 20 bytes, also within a character
  ["markup and wide characters", "<wéb>&客🔐"],
  ["a leading dash", "--disk"],
  ["a number", "1"],
  ["the form of a UUID", "11111111-2222-4333-8444-555555555555"],
])("a guest and volumes whose names have %s", (_, name) => {
  it("are protected by the command in the refusal, and start and stop", async () => {
    const directory = join(host().images, name);
    await mkdir(directory);
    const disks = [
      { dev: "vda", path: join(directory, "a.raw"), format: "raw" as const },
      { dev: "vdb", path: join(directory, "b.qcow2"), format: "qcow2" as const },
    ];
    for (const { path, format } of disks) await makeVolume(path, format);
    const guest = await host().define({ name, disks, metadata: FLAVOR_ASKS });

    const { code, hint } = await host().refusedStart(guest);
    expect(code).toBe("DISK_NOT_ENCRYPTED");
    expect(await host().paste(hint)).toMatchObject({ exitCode: 0, stderr: "" });
    await host().start(guest);
    const blocks = await host().blocks(guest);
    for (const { dev, path, format } of disks) expect(await luksUuidOf(path, format)).toBe(blocks[dev]);
    await host().stop(guest);
    expect(await host().libvirt.secretsLeft()).toEqual([]);
    expect(existsSync(host().inside("/pwned"))).toBe(false);
    expect((await readdir(directory)).sort()).toEqual(["a.raw", "b.qcow2"]);
  });
});
