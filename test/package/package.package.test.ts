import { execa } from "execa";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { temporaryDirectory } from "../fs/tree.js";
import { DebianRoot } from "../lab/debian-root.js";

vi.setConfig({ testTimeout: 240_000 });

const INSTALL = "apt-get install -q -y --no-install-recommends";
const PLUGIN = "/usr/share/perl5/PVE/Storage/Custom/LuksmithPlugin.pm";
const TIMER = "/etc/systemd/system/timers.target.wants/luksmith-reap.timer";
const OLDER = "/root/luksmith_older.deb";
/** A module of the older version. */
const GONE = "/usr/share/perl5/PVE/Luksmith/Gone.pm";

let directory: string;
let root: DebianRoot;
/** The package, as this machine and as the root has it. */
let built: string;
let deb: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "luksmith-test-"));
  const [{ stdout }, started] = await Promise.all([
    execa("npm", ["run", "--silent", "package"]),
    DebianRoot.start("trixie"),
  ]);
  root = started;
  // another build may clean dist/ meanwhile
  built = join(directory, basename(stdout.trim()));
  copyFileSync(stdout.trim(), built);
  deb = `/root/${basename(built)}`;
  copyFileSync(built, root.path(deb));
  await makeOlder();
  await root.must("apt-get update -q");
}, 300_000);

afterAll(async () => {
  rmSync(directory, { recursive: true });
  await root[Symbol.asyncDispose]();
});

/** The version before, with a module that the new one has no more. */
async function makeOlder(): Promise<void> {
  const tree = "/root/older";
  await root.must(`dpkg-deb --raw-extract ${deb} ${tree}`);
  await root.must(`sed -i 's/^Version: .*/Version: 0.0.9-1/' ${tree}/DEBIAN/control`);
  writeFileSync(root.path(`${tree}${GONE}`), "package PVE::Luksmith::Gone;\n1;\n");
  await root.must(`dpkg-deb --build --root-owner-group ${tree} ${OLDER} && rm -r ${tree}`);
}

/** Every file with all that tells it from another, but for what every installation of any package changes. */
function everything(): Promise<string> {
  const noise = ["/proc", "/sys", "/dev", "/tmp", "/root", "/run", "/var/log", "/var/cache", "/var/lib/apt"];
  const pruned = [...noise, "/var/lib/dpkg"].map((path) => `-path ${path} -prune`).join(" -o ");
  const files = `find / ${pruned} -o`;
  return root.must(
    `${files} -printf '%p %M %U:%G %l\\n' | sort; ${files} -type f -print0 | sort -z | xargs -0 sha256sum`,
  );
}

async function status(): Promise<string> {
  const { stdout } = await root.run("dpkg-query --show --showformat='${Status}' luksmith");
  return stdout;
}

describe("the package", () => {
  it("is the same, byte for byte, when it is made again, by somebody with other habits", async () => {
    const tree = temporaryDirectory();
    const files = [".config/package", "dist", "docs", "schemas", "plugin.json", "package.json"];
    for (const file of [...files, "README.md", "CHANGELOG.md"])
      cpSync(file, join(tree, file), { recursive: true });
    const make = async (output: string, umask: string, env: Readonly<Record<string, string>>) => {
      const script = `umask ${umask}; sh ${tree}/.config/package/assemble ${output}`;
      const { stdout } = await execa("sh", ["-c", script], {
        env: { SOURCE_DATE_EPOCH: "1750000000", ...env },
      });
      return digest(stdout);
    };
    const first = await make(temporaryDirectory(), "022", {});
    const second = await make(temporaryDirectory(), "077", { TMPDIR: "/dev/shm", TZ: "Asia/Tokyo" });

    expect(second).toBe(first);
  });

  it("has no error that lintian knows, and no warning", async () => {
    const { stdout, exitCode } = await execa(
      "lintian",
      ["--allow-root", "--fail-on", "error,warning", built],
      {
        reject: false,
      },
    );

    expect({ stdout, exitCode }).toEqual({ stdout: "", exitCode: 0 });
  });

  it("belongs to root, and nobody else can change what is in it", async () => {
    const { stdout } = await execa("dpkg-deb", ["--contents", built]);
    const lines = stdout.split("\n");

    expect(lines.length).toBeGreaterThan(100);
    expect(lines.filter((line) => !/^[d-]r[w-]xr-xr-x root\/root|^-rw-r--r-- root\/root/.test(line))).toEqual(
      [],
    );
  });
});

describe("in a Debian 13 with nothing but its essentials", () => {
  it("is installed with what it depends on, and runs", async () => {
    await root.must(`${INSTALL} ${deb}`);

    const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
    expect(await root.must("luksmith version")).toBe(`luksmith ${version}`);
    expect(JSON.parse(await root.must("luksmith version --json"))).toMatchObject({ version });
    expect(await root.must("for tool in node qemu-img cryptsetup; do command -v $tool; done")).toContain(
      "node",
    );
  });

  it("tells its administrator what is missing on a host without libvirt and without Proxmox VE", async () => {
    const { stdout, stderr } = await root.run("luksmith doctor");

    expect(stderr).toBe("");
    expect(stdout).toMatch(/luksmith install --host libvirt/);
  });

  it("has a manual page without a fault, and commands that shells complete", async () => {
    await root.must(`${INSTALL} man-db bash-completion`);
    const page = await root.run("man --warnings -E UTF-8 luksmith | col -bx");
    const whatis = await root.must("lexgrog /usr/share/man/man1/luksmith.1.gz");
    const words = "COMP_WORDS=(luksmith keys l); COMP_CWORD=2; _luksmith; echo ${COMPREPLY[@]}";
    const load = ". /usr/share/bash-completion/bash_completion; _comp_load luksmith";

    expect(page.stderr).toBe("");
    expect(page.stdout).toMatch(/^ +keys list/m);
    expect(whatis).toContain("luksmith - ");
    expect(await root.must(`bash -c '${load}; ${words}'`)).toBe("list");
  });

  it("brings the timer enabled, whose unit is where systemd looks", async () => {
    expect(await root.must(`readlink --canonicalize ${TIMER}`)).toBe(
      "/usr/lib/systemd/system/luksmith-reap.timer",
    );
    expect(readFileSync(root.path("/usr/lib/systemd/system/luksmith-reap.timer"), "utf8")).toMatch(
      /^ConditionPathExists=\/usr\/share\/perl5\/PVE\/QemuServer.pm$/m,
    );
    const names = ["reap", "rotate"].flatMap((name) => [
      `luksmith-${name}.service`,
      `luksmith-${name}.timer`,
    ]);
    const units = names.map((name) => root.path(`/usr/lib/systemd/system/${name}`));
    const copies = temporaryDirectory();
    for (const unit of units) copyFileSync(unit, join(copies, basename(unit)));
    // whose program is not on this machine
    const services = ["reap", "rotate"].map((name) => join(copies, `luksmith-${name}.service`));
    const { all } = await execa("systemd-analyze", ["verify", "--man=no", ...services], {
      all: true,
      reject: false,
    });
    expect(all).toBe("");
    expect(await root.must(`readlink --canonicalize ${TIMER.replace("reap", "rotate")}`)).toBe(
      "/usr/lib/systemd/system/luksmith-rotate.timer",
    );
  });

  it("leaves nothing behind when it is purged", async () => {
    await root.must("apt-get purge -q -y luksmith");
    const before = await everything();
    await root.must(`dpkg --install ${deb}`);
    expect(await everything()).not.toBe(before);
    await root.must("dpkg --purge luksmith");

    expect(await everything()).toBe(before);
  });

  it("is finished by dpkg after an installation that was interrupted", async () => {
    await root.must(`dpkg --unpack ${deb}`);
    expect(await status()).toBe("install ok unpacked");
    await root.must("dpkg --configure --pending");

    expect(await status()).toBe("install ok installed");
    expect(existsSync(root.path(PLUGIN))).toBe(true);
  });

  it("replaces an older version, and leaves a timer disabled that its administrator has disabled", async () => {
    await root.must("dpkg --purge luksmith");
    await root.must(`dpkg --install ${OLDER}`);
    expect(existsSync(root.path(GONE))).toBe(true);
    rmSync(root.path(TIMER));
    const { stderr } = await root.run(`dpkg --install ${deb}`);

    expect(stderr).not.toMatch(/error/i);
    expect(existsSync(root.path(GONE))).toBe(false);
    expect(await root.must(`test -h ${TIMER} || echo disabled`)).toBe("disabled");
    await root.must(`dpkg --purge luksmith && dpkg --install ${deb}`);
    expect(await root.must(`test -h ${TIMER} && echo enabled`)).toBe("enabled");
  });

  it("says where keys and credentials are, and keeps them, when it is purged", async () => {
    const [key, pin] = ["/var/lib/luksmith/keystore/a-key", "/etc/luksmith/secrets/local-pin-0123456789ab"];
    for (const path of [key, pin]) {
      mkdirSync(dirname(root.path(path)), { recursive: true });
      writeFileSync(root.path(path), "kept");
    }
    const said = await root.must("dpkg --purge luksmith");

    expect(said).toContain("stay in /var/lib/luksmith;");
    // without the PIN, what is under a token is as good as gone
    expect(said).toContain("PINs of keystores are among them, in /etc/luksmith/secrets");
    for (const path of [key, pin]) expect(readFileSync(root.path(path), "utf8")).toBe("kept");
    for (const path of ["/var/lib/luksmith", "/etc/luksmith"]) rmSync(root.path(path), { recursive: true });
    await root.must(`dpkg --install ${deb}`);
  });
});

describe("on a host of libvirt", () => {
  it("registers its hooks from where it is, and is not removed while they would start it", async () => {
    const installed = await root.must("luksmith install --host libvirt");
    expect(installed).toContain("installed: /etc/libvirt/hooks/qemu.d/luksmith");
    const shim = readFileSync(root.path("/etc/libvirt/hooks/qemu.d/luksmith"), "utf8");
    expect(shim).toContain("node='/usr/bin/node'");
    expect(shim).toContain("'/usr/lib/luksmith/dist/hooks/pre-start.js'");

    const removal = await root.run("apt-get remove -q -y luksmith");
    expect(removal.exitCode).not.toBe(0);
    expect(removal.stderr).toMatch(/^hint: first run: luksmith uninstall --host libvirt$/m);
    expect(await status()).toMatch(/ ok installed$/);

    await root.must("luksmith uninstall --host libvirt && apt-get remove -q -y luksmith");
    expect(existsSync(root.path("/etc/libvirt"))).toBe(false);
    await root.must(`dpkg --install ${deb}`);
  });
});

describe("on a node of Proxmox VE, of whose modules there are stand-ins", () => {
  beforeAll(async () => {
    // the cluster's file system is a mount as well
    await root.must("mkdir -p /etc/pve && mount -t tmpfs tmpfs /etc/pve");
    cpSync("test/fake/proxmox/perl5/PVE", root.path("/usr/share/perl5/PVE"), { recursive: true });
    write(
      "/etc/pve/storage.cfg",
      "dir: local\n\tpath /var/lib/vz\n\nluksmith: vault\n\tbase-path /srv/vault\n",
    );
    mkdirSync(root.path("/srv/vault"));
  });
  afterEach(() => {
    for (const path of ["/srv/vault/vm-100-disk-0.luks", "/srv/vault/.luksmith-base", "/etc/pve/nodes"])
      rmSync(root.path(path), { recursive: true, force: true });
  });

  function write(path: string, text: string): void {
    mkdirSync(dirname(root.path(path)), { recursive: true });
    writeFileSync(root.path(path), text);
  }

  it("brings the plugin where Proxmox VE looks, with modules that compile", async () => {
    // Perl is no dependency of ours: Proxmox VE is written in it
    await root.must(`${INSTALL} perl libjson-perl`);
    const { stderr } = await root.run(`perl -T -c ${PLUGIN}`);

    expect(stderr).toBe(`${PLUGIN} syntax OK`);
    expect(await root.must("luksmith install --host proxmox")).toContain(`unchanged: ${PLUGIN}`);
  });

  it("is dpkg's, which no source tree and no command replaces", async () => {
    await root.must("cp -r /usr/lib/luksmith /opt/tree");
    const install = await root.run("node /opt/tree/dist/cli/luksmith.js install --host proxmox");
    const uninstall = await root.run("luksmith uninstall --host proxmox");

    expect([install.exitCode, uninstall.exitCode]).toEqual([3, 3]);
    expect(install.stderr).toContain("it belongs to the Debian package luksmith");
    expect(uninstall.stderr).toContain("apt-get remove luksmith");
  });

  it.each([
    ["a storage", "/srv/vault/.luksmith-base", "", /^cause: storage vault is in .*storage.cfg$/m],
    ["a volume", "/srv/vault/vm-100-disk-0.luks", "", /^cause: storage vault has 1 encrypted volume$/m],
    [
      "a guest with a disk",
      "/etc/pve/nodes/one/qemu-server/100.conf",
      "name: web\nscsi0: vault:vm-100-disk-0,size=1G\n",
      /^cause: guest 100 on node one has a disk on storage vault$/m,
    ],
  ])("is not removed while there is %s, not even without Node.js", async (_, path, text, reason) => {
    write(path, text);
    await root.must("chmod -x /usr/bin/node");
    const removal = await root.run("apt-get remove -q -y luksmith");
    await root.must("chmod +x /usr/bin/node");

    expect(removal.exitCode).not.toBe(0);
    expect(removal.stderr).toMatch(reason);
    expect(removal.stderr).toMatch(/^hint: /m);
    expect(await root.must("luksmith version")).toMatch(/^luksmith /);
    expect(await root.must(`test -h ${TIMER} && echo enabled`)).toBe("enabled");
  });

  it("is upgraded while there are volumes", async () => {
    write("/srv/vault/vm-100-disk-0.luks", "");
    await root.must(`dpkg --install ${deb}`);

    expect(await status()).toMatch(/ ok installed$/);
  });

  it("is removed when somebody insists, and keeps the volumes", async () => {
    write("/srv/vault/vm-100-disk-0.luks", "");
    const { exitCode, stderr } = await root.run("apt-get remove -q -y luksmith", {
      LUKSMITH_FORCE_REMOVE: "1",
    });

    expect(exitCode).toBe(0);
    expect(stderr).toMatch(/^warning: luksmith goes without a look for encrypted volumes/m);
    expect(existsSync(root.path(PLUGIN))).toBe(false);
    expect(existsSync(root.path("/srv/vault/vm-100-disk-0.luks"))).toBe(true);
  });

  it("is not installed over the plugin of a source tree", async () => {
    const tree = "node /opt/tree/dist/cli/luksmith.js";
    await root.must(`${tree} install --host proxmox`);
    const { exitCode, stderr } = await root.run(`dpkg --install ${deb}`);

    expect(exitCode).not.toBe(0);
    expect(stderr).toContain("luksmith was installed on this host from a source tree");
    expect(readFileSync(root.path("/usr/share/perl5/PVE/Luksmith/Paths.pm"), "utf8")).toContain(
      "'/opt/tree'",
    );
    const refused = await root.run(`${tree} uninstall --host proxmox`);
    expect([refused.exitCode, refused.stderr]).toEqual([3, expect.stringContaining("storage vault is in")]);
    await root.must(`${tree} uninstall --host proxmox --force && dpkg --install ${deb}`);
    expect(await root.must("perl -MPVE::Luksmith::Paths -e 'print $PVE::Luksmith::Paths::ENGINE'")).toBe(
      "/usr/lib/luksmith",
    );
  });
});

function digest(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}
