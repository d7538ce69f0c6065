import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { BarbicanKeystore } from "../../../src/keystore/barbican/barbican-keystore.js";
import type { SettingsOf } from "../../../src/keystore/index.js";
import type { Secret } from "../../../src/secret/secret.js";
import type { RemoteKeystoreFixture } from "../../contract/remote-keystore.contract.js";
import type { Cloud, Tenant } from "../../lab/cloud.js";
import { type FaultyLine, startFaultyLine } from "../../lab/faulty-line.js";
import type { Login } from "../../lab/keystone-admin.js";
import { spoilt } from "./barbican-fixture.js";

export type KeystoneSettings = NonNullable<SettingsOf<"barbican">["keystone"]>;

/** Files with passwords, as the settings name them. */
export class SecretFiles implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), "luksmith-test-"));
  #count = 0;

  write(content: string | Uint8Array): string {
    const path = join(this.directory, `secret-${this.#count++}`);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true });
  }
}

export interface BarbicanOptions {
  readonly keystone: KeystoneSettings;
  readonly url?: string;
  readonly token?: Secret;
  /** Seconds. */
  readonly timeout?: number;
}

export function barbicanKeystore({ keystone, url, token, timeout = 30 }: BarbicanOptions): BarbicanKeystore {
  const settings = {
    name: "cloud",
    type: "barbican",
    tls: {},
    timeout,
    keystone,
    ...(url && { url }),
  } as const;
  const runner = new ExecaCommandRunner();
  return new BarbicanKeystore(settings, { runner, ...(token && { token }) });
}

/** Users, who get their roles in the project of each fixture. */
export interface People {
  readonly owner: Tenant;
  readonly auditor: Tenant;
}

/** An empty keystore in a project of its own of `cloud`, whose Barbican is in `region`. */
export async function keystoneFixture(
  cloud: Cloud,
  region: string,
  files: SecretFiles,
  people: People,
): Promise<RemoteKeystoreFixture> {
  const owner = await cloud.tenant(["creator"], { user: people.owner });
  const stranger = await cloud.tenant(["audit"], { user: people.auditor, project: owner });
  const barbican = cloud.barbicans[region]!;
  const login = ({ user, project, password }: Login): KeystoneSettings => {
    const { url } = cloud.keystone;
    return { method: "password", url, region, user, project, passwordFile: files.write(password) };
  };
  const lines: FaultyLine[] = [];
  const settings = login(owner);
  return {
    keystore: barbicanKeystore({ keystone: settings }),
    another: () => barbicanKeystore({ keystone: settings }),
    async over(timeout) {
      const line = await startFaultyLine(barbican);
      lines.push(line);
      const url = `http://127.0.0.1:${line.port}`;
      return { keystore: barbicanKeystore({ keystone: settings, url, timeout }), line };
    },
    spoil: (answer) => spoilt(answer),
    withWrongCredentials: () => barbicanKeystore({ keystone: login({ ...owner, password: "another" }) }),
    ofForbiddenUser: () => barbicanKeystore({ keystone: login(stranger) }),
    restart: () => barbican.restart(),
    freeze: () => barbican.freeze(),
    thaw: () => barbican.thaw(),
    async [Symbol.asyncDispose]() {
      for (const line of lines) await line[Symbol.asyncDispose]();
    },
  };
}
