import type {
  Protector,
  ProtectorSettings,
  ProtectorTools,
  ProtectorType,
  SettingsOf,
} from "../protector.js";
import { rootOnlyFile } from "./root-only-file.js";

type Factories = {
  readonly [Type in ProtectorType]: (
    settings: SettingsOf<Type>,
    tools: ProtectorTools,
  ) => Promise<Protector<Type>>;
};

/** Every protector; those that most hosts do not use are loaded when they are needed. */
const FACTORIES: Factories = {
  file: () => Promise.resolve(rootOnlyFile),
  "systemd-creds": async (settings, tools) =>
    new (await import("./systemd-creds.js")).SystemdCreds(settings, tools),
  tpm2: async (settings, tools) => new (await import("./tpm2.js")).Tpm2(settings, tools),
  tang: async (settings, tools) => new (await import("./tang.js")).Tang(settings, tools),
  pkcs11: async (settings, tools) => new (await import("./pkcs11.js")).Pkcs11(settings, tools),
};

/** The protector that `settings` describe; its `unprotect` takes what its own `protect` made. */
export async function makeProtector(
  settings: ProtectorSettings,
  tools: ProtectorTools,
): Promise<Protector<ProtectorType>> {
  // the table pairs each type with its settings, which the compiler cannot follow here
  const make = FACTORIES[settings.type] as (
    settings: ProtectorSettings,
    tools: ProtectorTools,
  ) => Promise<Protector<ProtectorType>>;
  return await make(settings, tools);
}
