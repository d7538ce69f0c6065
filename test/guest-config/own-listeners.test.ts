import { describe, expect, it } from "vitest";
import { ownListeners } from "../../src/guest-config/own-listeners.js";
import { domainXml } from "../lab/test-domain.js";

const listening = (devices: string) => ownListeners(domainXml({ name: "web1", devices }));

describe("ownListeners", () => {
  it.each([
    ["VNC", "<graphics type='vnc' port='5902' autoport='yes' listen='127.0.0.1'/>", "tcp:5902"],
    ["VNC's websocket", "<graphics type='vnc' port='5902' websocket='5702'/>", "tcp:5702"],
    ["SPICE", "<graphics type='spice' port='5903' tlsPort='5904'/>", "tcp:5903"],
    ["SPICE with TLS", "<graphics type='spice' port='5903' tlsPort='5904'/>", "tcp:5904"],
    ["VNC on a path", "<graphics type='vnc' socket='/run/vnc 1'/>", "unix:/run/vnc 1"],
    [
      "VNC on a path that libvirt chose",
      "<graphics type='vnc'><listen type='socket' socket='/run/v&lt;'/></graphics>",
      "unix:/run/v<",
    ],
    [
      "a serial port",
      "<serial type='tcp'><source mode='bind' host='127.0.0.1' service='4555'/></serial>",
      "tcp:4555",
    ],
    ["a console", "<console type='unix'><source mode='bind' path='/run/con'/></console>", "unix:/run/con"],
    ["a parallel port", "<parallel type='tcp'><source mode='bind' service='4556'/></parallel>", "tcp:4556"],
    ["a channel", "<channel type='unix'><source mode='bind' path='/run/ga'/></channel>", "unix:/run/ga"],
    [
      "a USB redirection",
      "<redirdev bus='usb' type='tcp'><source mode='bind' service='4000'/></redirdev>",
      "tcp:4000",
    ],
    [
      "a random number generator",
      "<rng model='virtio'><backend model='egd' type='tcp'><source mode='bind' service='708'/></backend></rng>",
      "tcp:708",
    ],
    [
      "a network interface for vhost-user",
      "<interface type='vhostuser'><source type='unix' path='/run/vhost' mode='server'/></interface>",
      "unix:/run/vhost",
    ],
    [
      "a network between guests",
      "<interface type='server'><source address='127.0.0.1' port='5558'/></interface>",
      "tcp:5558",
    ],
  ] as const)("knows %s", (_, devices, listener) => {
    expect(listening(devices).has(listener)).toBe(true);
    expect(listening("").has(listener)).toBe(false);
  });

  it.each([
    [
      "a serial port that connects",
      "<serial type='tcp'><source mode='connect' service='4555'/></serial>",
      "tcp:4555",
    ],
    [
      "a network between guests that connects",
      "<interface type='client'><source address='127.0.0.1' port='4555'/></interface>",
      "tcp:4555",
    ],
    ["a port that is still to be chosen", "<graphics type='vnc' port='-1'/>", "tcp:1"],
    ["a network disk's port", diskOf("<host name='ceph' port='4555'/>"), "tcp:4555"],
    ["a path that begins so", "<graphics type='vnc' socket='/run/vnc'/>", "unix:/run/vnc2"],
  ] as const)("does not mean %s", (_, devices, listener) => {
    expect(listening(devices).has(listener)).toBe(false);
  });

  it.each([
    ["-gdb tcp::4555", "tcp:4555", true],
    ["unix:/run/x,server=on", "unix:/run/x", true],
    ["-s", "tcp:1234", true],
    ["-gdb tcp::45550", "tcp:4555", false],
    ["-smbios", "tcp:1234", false],
  ] as const)("of the argument %s that is handed through: %s is %s", (argument, listener, expected) => {
    const namespace = "xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'";
    const commandline = `<q:commandline><q:arg value='${argument}'/></q:commandline></domain>`;
    const xml = domainXml({ name: "web1" })
      .replace("<domain ", `<domain ${namespace} `)
      .replace("</domain>", commandline);
    expect(ownListeners(xml).has(listener)).toBe(expected);
  });
});

function diskOf(host: string): string {
  return `<disk type='network'><source protocol='rbd' name='a/b'>${host}</source><target dev='vda'/></disk>`;
}
