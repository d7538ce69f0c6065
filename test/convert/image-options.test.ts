import { expect, test } from "vitest";
import { imageOptions } from "../../src/convert/image-options.js";

test("a node is what QEMU's tools take with --image-opts", () => {
  const file = { driver: "file", filename: "/srv/a,b=c.raw", "cache.direct": true };
  const node = { driver: "luks", "key-secret": "s", file, server: [{ host: "::1", port: 1 }] };

  expect(imageOptions(node)).toBe(
    "driver=luks,key-secret=s,file.driver=file,file.filename=/srv/a,,b=c.raw,file.cache.direct=on," +
      "server.0.host=::1,server.0.port=1",
  );
});
