import { randomUUID } from "node:crypto";
import { type BarbicanServer, type Configuration, startBarbican } from "./barbican-server.js";
import { type FaultyLine, startFaultyLine } from "./faulty-line.js";
import type { KeystoneAdmin, Login } from "./keystone-admin.js";
import { type KeystoneServer, startKeystone } from "./keystone-server.js";
import { freePort } from "./free-ports.js";
import { HOST } from "./uwsgi-server.js";

/** Somebody who has roles in one project. */
export interface Tenant extends Login {
  readonly userId: string;
  readonly projectId: string;
}

/** Where a tenant's user and project are from; new ones are made without it. */
export interface Whose {
  readonly user?: Tenant;
  readonly project?: Tenant;
}

export interface CloudOptions {
  /** Added to barbican.conf, for a Barbican of each region. */
  readonly regions: Readonly<Record<string, Configuration>>;
}

/** A Keystone, and a Barbican that asks it for every region of its catalog. */
export interface Cloud extends AsyncDisposable {
  readonly keystone: KeystoneServer;
  readonly barbicans: Readonly<Record<string, BarbicanServer>>;
  /** Between the Barbicans and Keystone. */
  readonly line: FaultyLine;
  tenant(roles: readonly string[], whose?: Whose): Promise<Tenant>;
}

/** Needs the packages of Barbican and of Keystone. Takes about 7 seconds. */
export async function startCloud({ regions }: CloudOptions): Promise<Cloud> {
  const port = await freePort();
  const line = await startFaultyLine({ port });
  const lineUrl = `http://${HOST}:${line.port}`;
  const service = randomUUID();
  const [keystone, ...servers] = await Promise.all([
    // what Barbican finds in the catalog leads over the line as well
    startKeystone({ port, publicUrl: `${lineUrl}/v3` }),
    ...Object.values(regions).map((configuration) =>
      startBarbican({
        authentication: "keystone",
        configuration: {
          ...configuration,
          keystone_authtoken: { ...middleware(lineUrl, service), ...configuration["keystone_authtoken"] },
        },
      }),
    ),
  ]);
  const { admin } = keystone;
  const names = Object.keys(regions);
  await makeServiceUser(admin, service);
  for (const [index, { url }] of servers.entries()) {
    await admin.endpoint("key-manager", { region: names[index]!, interface: "public", url });
  }
  return {
    keystone,
    barbicans: Object.fromEntries(servers.map((server, index) => [names[index]!, server])),
    line,
    tenant: (roles, whose) => makeTenant(admin, roles, whose),
    async [Symbol.asyncDispose]() {
      await Promise.all([keystone, ...servers].map((server) => server.stop()));
      await line[Symbol.asyncDispose]();
    },
  };
}

const SERVICE = "barbican";

/** How Barbican's middleware reaches Keystone. */
const middleware = (url: string, password: string): Readonly<Record<string, string>> => ({
  auth_type: "password",
  auth_url: url,
  www_authenticate_uri: url,
  username: SERVICE,
  password,
  project_name: "service",
  user_domain_name: "Default",
  project_domain_name: "Default",
});

async function makeServiceUser(admin: KeystoneAdmin, password: string): Promise<void> {
  const [user, project] = [await admin.user(SERVICE, password), await admin.project("service")];
  await admin.grant("admin", user, project);
}

async function makeTenant(
  admin: KeystoneAdmin,
  roles: readonly string[],
  whose: Whose = {},
): Promise<Tenant> {
  const [user, project] = await Promise.all([
    whose.user ?? makeUser(admin),
    whose.project ?? makeProject(admin),
  ]);
  const tenant = {
    user: user.user,
    password: user.password,
    userId: user.userId,
    project: project.project,
    projectId: project.projectId,
  };
  for (const role of roles) await admin.grant(role, tenant.userId, tenant.projectId);
  return tenant;
}

async function makeUser(admin: KeystoneAdmin): Promise<Pick<Tenant, "user" | "userId" | "password">> {
  const [user, password] = [`user-${randomUUID()}`, randomUUID()];
  return { user, password, userId: await admin.user(user, password) };
}

async function makeProject(admin: KeystoneAdmin): Promise<Pick<Tenant, "project" | "projectId">> {
  const project = `project-${randomUUID()}`;
  return { project, projectId: await admin.project(project) };
}
