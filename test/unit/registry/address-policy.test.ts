import { expect, it } from "vitest";
import { isAddressAllowed } from "../../../src/registry/address-policy.js";

const addresses = {
  public: ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "172.32.0.1", "100.128.0.1"],
  private: ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fc00::1", "fd12:3456::1", "::ffff:10.0.0.1"],
  special: [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "169.254.169.254",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "192.0.2.1",
  ],
} as const;

const admitted = {
  none: [],
  public: ["public"],
  private: ["public", "private"],
  any: ["public", "private", "special"],
} as const;

for (const policy of ["none", "public", "private", "any"] as const) {
  for (const kind of ["public", "private", "special"] as const) {
    const isAdmitted = (admitted[policy] as readonly string[]).includes(kind);
    it(`the policy ${policy} admits ${isAdmitted ? "" : "no "}${kind} addresses`, () => {
      for (const address of addresses[kind]) expect(`${address} ${isAddressAllowed(policy, address)}`).toBe(`${address} ${isAdmitted}`);
    });
  }
}

it("what is no address is admitted by no policy", () => {
  for (const text of ["", "localhost", "10.0.0", "1.2.3.4.5", "::g"]) expect(isAddressAllowed("any", text)).toBe(false);
});
