import { execFileSync } from "node:child_process";

/**
 * A LUKS volume of 1 MiB made by qemu-img itself, as other tools make them. Some versions of QEMU now and then give up
 * their PBKDF2 benchmark ("Unable to get accurate CPU usage"), so this asks again: one more reason not to use it.
 * @param more arguments of qemu-img
 */
export function createLuksByQemu(format: "luks" | "qcow2", path: string, more: readonly string[] = []): void {
  const options = {
    luks: "key-secret=key,iter-time=10",
    qcow2: "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10",
  }[format];
  const args = [
    "create",
    "-q",
    "-f",
    format,
    "--object",
    "secret,id=key,data=a passphrase",
    "-o",
    options,
    ...more,
    path,
    "1M",
  ];
  for (let attempt = 1; ; attempt++) {
    try {
      execFileSync("qemu-img", args, { stdio: "pipe" });
      return;
    } catch (thrown) {
      if (attempt === 10 || !String(thrown).includes("accurate CPU usage")) throw thrown;
    }
  }
}
