import { afterAll, beforeAll } from "vitest";
import { keystoreContract } from "../../contract/keystore.contract.js";
import { remoteKeystoreContract } from "../../contract/remote-keystore.contract.js";
import { type Cloud, startCloud } from "../../lab/cloud.js";
import { keystoneFixture, type People, SecretFiles } from "./keystone-fixture.js";

const files = new SecretFiles();
let cloud: Cloud;
let people: People;
beforeAll(async () => {
  cloud = await startCloud({ regions: { north: {} } });
  people = { owner: await cloud.tenant([]), auditor: await cloud.tenant([]) };
});
afterAll(async () => {
  await cloud[Symbol.asyncDispose]();
  files[Symbol.dispose]();
});

const make = () => keystoneFixture(cloud, "north", files, people);

keystoreContract("Barbican with Keystone", make);
// before an answer, in its status, its headers and its body
remoteKeystoreContract("Barbican with Keystone", make, { cuts: [0, 10, 150, 300] });
