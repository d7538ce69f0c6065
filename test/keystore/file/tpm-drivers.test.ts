import { describe, expect, it } from "vitest";
import isStoredMasterKey from "../../../src/generated/validate-master-key.cjs";
import { makeProtector } from "../../../src/keystore/file/protectors/index.js";
import { RecordingCommandRunner } from "../../fake/recording-command-runner.js";

const stored = { version: 1, masterKey: "0123456789abcdef" };
const tools = () => ({ runner: new RecordingCommandRunner(), directory: "/nowhere" });

describe("a master key that an earlier version stored", () => {
  it.each(["cmd:program", "libtss2-tcti-device.so.0:/dev/tpmrm0", "device:/dev/tpmrm0"])(
    "is read whatever TPM it names: %s",
    (place) => {
      const tpm2 = { type: "tpm2", pcrs: "7", tcti: place };
      const sealed = { public: "AAAA", private: "AAAA" };
      expect(isStoredMasterKey({ ...stored, protector: "tpm2", settings: tpm2, ...sealed })).toBe(true);
      const creds = { type: "systemd-creds", with: "tpm2", pcrs: "7", tpm2Device: place };
      const credential = { protector: "systemd-creds", settings: creds, credential: "AAAA" };
      expect(isStoredMasterKey({ ...stored, ...credential })).toBe(true);
    },
  );

  it("is not opened by starting what it names", async () => {
    const places = [
      { type: "tpm2", pcrs: "7", tcti: "cmd:program" },
      { type: "systemd-creds", with: "tpm2", pcrs: "7", tpm2Device: "cmd:program" },
    ] as const;
    for (const settings of places) {
      const own = tools();
      await expect(makeProtector(settings, own)).rejects.toMatchObject({ code: "PROTECTOR_UNAVAILABLE" });
      expect(own.runner.lines).toEqual([]);
    }
    await makeProtector({ type: "tpm2", pcrs: "7", tcti: "swtpm:path=/run/socket" }, tools());
  });
});
