/** A user with a project, by their names in the domain Default. */
export interface Login {
  readonly user: string;
  readonly password: string;
  readonly project: string;
}

export interface ApplicationCredential {
  readonly id: string;
  readonly secret: string;
}

/** What an administrator does with Keystone's API, and what users do without Luksmith. */
export class KeystoneAdmin {
  readonly #roles = new Map<string, string>();

  #token: string | undefined;

  constructor(
    private readonly url: string,
    private readonly login: Login,
  ) {}

  /** @returns the id */
  domain(name: string): Promise<string> {
    return this.#create("domain", { name });
  }

  /** @returns the id */
  project(name: string, domain_id = "default"): Promise<string> {
    return this.#create("project", { name, domain_id });
  }

  /** @returns the id */
  user(name: string, password: string, domain_id = "default"): Promise<string> {
    return this.#create("user", { name, password, domain_id });
  }

  async changeUser(
    id: string,
    user: { readonly password?: string; readonly enabled?: boolean },
  ): Promise<void> {
    await this.call("PATCH", `/users/${id}`, { user });
  }

  /** Makes the role if there is none of the name. */
  async grant(role: string, userId: string, projectId: string): Promise<void> {
    const id = await this.#role(role);
    await this.call("PUT", `/projects/${projectId}/users/${userId}/roles/${id}`);
  }

  async withdraw(role: string, userId: string, projectId: string): Promise<void> {
    const id = await this.#role(role);
    await this.call("DELETE", `/projects/${projectId}/users/${userId}/roles/${id}`);
  }

  /** @returns the id of the endpoint */
  async endpoint(
    type: string,
    {
      region,
      interface: face,
      url,
    }: { readonly region: string; readonly interface: string; readonly url: string },
  ): Promise<string> {
    const found = (await this.call("GET", `/services?type=${type}`)) as { services: { id: string }[] };
    const service_id = found.services[0]?.id ?? (await this.#create("service", { type, name: type }));
    const regions = (await this.call("GET", "/regions")) as { regions: { id: string }[] };
    if (!regions.regions.some(({ id }) => id === region)) await this.#create("region", { id: region });
    return this.#create("endpoint", { service_id, region_id: region, interface: face, url });
  }

  async removeEndpoint(id: string): Promise<void> {
    await this.call("DELETE", `/endpoints/${id}`);
  }

  /** Anybody's token, from now on worthless. */
  async revoke(token: string): Promise<void> {
    await this.call("DELETE", "/auth/tokens", undefined, { "x-subject-token": token });
  }

  /** A user makes it for himself, with the roles that he has. */
  async applicationCredential(login: Login, userId: string): Promise<ApplicationCredential> {
    const own = new KeystoneAdmin(this.url, login);
    const body = { application_credential: { name: `luksmith ${Date.now()}` } };
    const made = (await own.call("POST", `/users/${userId}/application_credentials`, body)) as {
      application_credential: ApplicationCredential;
    };
    return made.application_credential;
  }

  async removeApplicationCredential(login: Login, userId: string, id: string): Promise<void> {
    const own = new KeystoneAdmin(this.url, login);
    await own.call("DELETE", `/users/${userId}/application_credentials/${id}`);
  }

  async #role(name: string): Promise<string> {
    const known = this.#roles.get(name);
    if (known !== undefined) return known;
    const { roles } = (await this.call("GET", `/roles?name=${name}`)) as { roles: { id: string }[] };
    const id = roles[0]?.id ?? (await this.#create("role", { name }));
    this.#roles.set(name, id);
    return id;
  }

  async #create(kind: string, properties: object): Promise<string> {
    const made = (await this.call("POST", `/${kind}s`, { [kind]: properties })) as Record<
      string,
      { id: string }
    >;
    return made[kind]!.id;
  }

  /** @throws with the answer if that is an error */
  async call(
    method: string,
    path: string,
    body?: object,
    headers?: Record<string, string>,
  ): Promise<unknown> {
    const send = async () => {
      this.#token ??= await requestToken(this.url, this.login);
      return fetch(`${this.url}${path}`, {
        method,
        headers: { "x-auth-token": this.#token, "content-type": "application/json", ...headers },
        ...(body && { body: JSON.stringify(body) }),
      });
    };
    let answer = await send();
    if (answer.status === 401) {
      // tokens may live for seconds only
      this.#token = undefined;
      answer = await send();
    }
    const text = await answer.text();
    if (!answer.ok) throw new Error(`Keystone: ${method} ${path}: ${answer.status} ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  }
}

/** A token as any client gets it. */
export async function requestToken(url: string, { user, password, project }: Login): Promise<string> {
  const domain = { id: "default" };
  const identity = { methods: ["password"], password: { user: { name: user, domain, password } } };
  const answer = await fetch(`${url}/auth/tokens`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ auth: { identity, scope: { project: { name: project, domain } } } }),
  });
  const token = answer.headers.get("x-subject-token");
  if (token === null)
    throw new Error(`Keystone: no token for ${user}: ${answer.status} ${await answer.text()}`);
  return token;
}
