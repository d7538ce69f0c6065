import { LuksmithError } from "../../error/luksmith-error.js";
import type { SettingsOf } from "../index.js";
import type { BarbicanAccess } from "./barbican-access.js";
import { withoutVersion } from "./keystone-catalog.js";

/** A Barbican without Keystone believes whoever names a project, and has no catalog that tells where it is. */
export class ProjectAccess implements BarbicanAccess {
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;

  /** @throws SETTINGS_INVALID without `url` and `projectId` */
  constructor({ name, url, projectId }: SettingsOf<"barbican">) {
    if (url === undefined || projectId === undefined) {
      throw new LuksmithError("SETTINGS_INVALID", {
        what: `keystore ${name} has neither keystone nor ${url === undefined ? "url" : "projectId"} in the settings`,
        hint: "set keystone; or url and projectId, for a Barbican that has no Keystone",
      });
    }
    this.#url = withoutVersion(url);
    this.#headers = { "x-project-id": projectId };
  }

  endpoint(): Promise<string> {
    return Promise.resolve(this.#url);
  }

  headers(): Promise<Readonly<Record<string, string>>> {
    return Promise.resolve(this.#headers);
  }

  renew(): boolean {
    return false;
  }
}
