import { isUtf8 } from "node:buffer";
import { randomUUID } from "node:crypto";
import type { LuksmithError } from "../../error/luksmith-error.js";
import type { KeystoneApplicationCredentialSettings } from "../../generated/keystone-application-credential.js";
import type { KeystonePasswordSettings } from "../../generated/keystone-password.js";
import type { KeystoneTokenSettings } from "../../generated/keystone-token.js";
import { readCredential } from "../remote/credential-file.js";
import { notAuthenticated, type Place, quoted } from "../remote/failures.js";
import { Secret } from "../../secret/secret.js";
import { jsonText } from "./json-text.js";

export type KeystoneSettings = LoginSettings | KeystoneTokenSettings;
/** With these Luksmith gets as many tokens as it needs. */
export type LoginSettings = KeystonePasswordSettings | KeystoneApplicationCredentialSettings;

/** Keystone's name of a domain that has no other. */
const DEFAULT_DOMAIN = "Default";

/**
 * The body of POST /v3/auth/tokens (Identity API v3), with the password or secret as its file has it now. It is in no
 * string; the caller disposes of it.
 * @param keystore its name in the settings, for messages
 * @throws KEYSTORE_CREDENTIAL_MISSING, KEYSTORE_AUTH_FAILED if it is no text, PERMISSIONS_UNSAFE
 */
export function loginRequest(settings: LoginSettings, keystore: Place): Secret {
  const file = fileOf(settings);
  using secret = readCredential(file, keystore.name);
  return secret.use((bytes) => {
    if (!isUtf8(bytes)) throw notUtf8(keystore, file);
    const gap = randomUUID();
    const [before = "", after = ""] = JSON.stringify({ auth: authOf(settings, gap) }).split(`"${gap}"`);
    const text = jsonText(bytes);
    const body = Buffer.concat([Buffer.from(before), text, Buffer.from(after)]);
    text.fill(0);
    return Secret.own(body);
  });
}

function authOf(settings: LoginSettings, secret: string): object {
  if (settings.method === "application-credential") {
    // has its project in it: Keystone refuses a scope besides
    return {
      identity: {
        methods: ["application_credential"],
        application_credential: { id: settings.id, secret },
      },
    };
  }
  const { user, userDomain = DEFAULT_DOMAIN, project, projectDomain = DEFAULT_DOMAIN } = settings;
  return {
    identity: {
      methods: ["password"],
      password: { user: { name: user, domain: { name: userDomain }, password: secret } },
    },
    scope: { project: { name: project, domain: { name: projectDomain } } },
  };
}

function fileOf(settings: LoginSettings): string {
  return settings.method === "password" ? settings.passwordFile : settings.secretFile;
}

/** KEYSTORE_AUTH_FAILED: Keystone, or Barbican, does not accept what the settings name. `why` is a clause. */
export function refusedCredential(
  place: Place,
  settings: KeystoneSettings,
  why: string,
  hint = hintOf(settings),
): LuksmithError {
  return notAuthenticated(place, `${nameOf(settings)}: ${why}`, hint);
}

function nameOf(settings: KeystoneSettings): string {
  switch (settings.method) {
    case "password": {
      const { user, userDomain = DEFAULT_DOMAIN, project, projectDomain = DEFAULT_DOMAIN } = settings;
      return `user ${quoted(user)} (domain ${quoted(userDomain)}) in project ${quoted(project)} (domain ${quoted(projectDomain)})`;
    }
    case "application-credential":
      return `application credential ${quoted(settings.id)}`;
    case "token":
      return "the token that was handed over";
  }
}

function hintOf(settings: KeystoneSettings): string {
  switch (settings.method) {
    case "password":
      return (
        `is the password in ${settings.passwordFile} right, are the names and the domains, is the user enabled, and ` +
        "has it a role in the project? Keystone does not tell which"
      );
    case "application-credential":
      return (
        `is the secret in ${settings.secretFile} that of this credential? if so, the credential was deleted or has ` +
        "expired, or its user was disabled or has lost a role: make a new one"
      );
    case "token":
      return (
        "it has expired or was revoked: get a new one for the project (openstack token issue -f value -c id), and " +
        "hand it over with --token-file"
      );
  }
}

function notUtf8(place: Place, file: string): LuksmithError {
  return notAuthenticated(
    place,
    `what is in ${file} is not UTF-8 text`,
    "write the password there as UTF-8 text",
  );
}
