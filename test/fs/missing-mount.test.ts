import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { missingMount } from "../../src/fs/missing-mount.js";
import { temporaryDirectory } from "./tree.js";

/** What is missing for `directory` where fstab has these mount points, and these are mounted. */
function missing(directory: string, fstab: readonly string[], mounted: readonly string[]) {
  const tables = temporaryDirectory();
  const paths = { fstab: join(tables, "fstab"), mountinfo: join(tables, "mountinfo") };
  const entries = fstab.map((point) => `UUID=0-1 \t${point}  ext4 noauto,nofail 0 2`);
  writeFileSync(paths.fstab, ["# /dev/sda1 /var ext4", "", "/dev/sda2 none swap sw", ...entries].join("\n"));
  const mounts = mounted.map(
    (point, n) => `${36 + n} 1 8:1 / ${point} rw,noatime shared:1 - ext4 /dev/sda1 rw`,
  );
  writeFileSync(paths.mountinfo, `${mounts.join("\n")}\n`);
  return missingMount(directory, paths);
}

describe("a directory's file system", () => {
  it("is missing where fstab names its mount point and nothing is mounted there", () => {
    for (const directory of ["/srv/keys", "/srv/keys/", "/srv/keys/a/b", "/srv/./keys/a"]) {
      expect(missing(directory, ["/", "/srv/keys"], ["/"]), directory).toBe("/srv/keys");
      expect(missing(directory, ["/", "/srv/keys/"], ["/", "/srv/keys"]), directory).toBeUndefined();
    }
  });

  it("is there where fstab names none that it is below", () => {
    expect(missing("/var/lib/luksmith", ["/", "/srv", "/var/lib/luks", "none"], ["/"])).toBeUndefined();
    const nowhere = { fstab: "/nowhere/fstab", mountinfo: "/nowhere/mountinfo" };
    expect(missingMount("/srv/keys", nowhere)).toBeUndefined();
  });

  it("is the one of the longest path", () => {
    expect(missing("/srv/keys/a", ["/srv/keys", "/srv"], ["/", "/srv"])).toBe("/srv/keys");
    expect(missing("/srv/keys/a", ["/srv", "/srv/keys"], ["/", "/srv/keys"])).toBeUndefined();
    expect(missing("/srv/other", ["/srv/keys", "/srv"], ["/", "/srv"])).toBeUndefined();
  });

  it("has spaces and backslashes in octal in both tables", () => {
    const escaped = "/srv/my\\040keys\\134x";
    expect(missing("/srv/my keys\\x/a", [escaped], ["/"])).toBe("/srv/my keys\\x");
    expect(missing("/srv/my keys\\x/a", [escaped], ["/", escaped])).toBeUndefined();
  });

  it("is found through symbolic links, of the directory and of the mount point", () => {
    const directory = temporaryDirectory();
    const real = join(directory, "real");
    const link = join(directory, "link");
    mkdirSync(real);
    symlinkSync(real, link);
    expect(missing(join(link, "new/keystore"), [real], ["/"])).toBe(real);
    expect(missing(join(real, "keystore"), [link], ["/"])).toBe(real);
    expect(missing(join(link, "keystore"), [link], ["/", real])).toBeUndefined();
  });

  it("is told from the host's own tables", () => {
    expect(missingMount("/proc/self")).toBeUndefined();
  });
});
