import fc from "fast-check";
import { expect, test } from "vitest";
import { parseTargets, targetFault } from "../../../src/client/target.js";

test("a target is host:port as gRPC reads it, or has a scheme that says whether TLS is spoken", () => {
  expect(parseTargets("localhost:50051")).toEqual([{ address: "localhost:50051", isSecure: undefined }]);
  expect(parseTargets("https://mcp.example")).toEqual([{ address: "mcp.example:443", isSecure: true }]);
  expect(parseTargets("HTTPS://[::1]:50051/")).toEqual([{ address: "[::1]:50051", isSecure: true }]);
  expect(parseTargets("dns:///a:1")).toEqual([{ address: "dns:///a:1", isSecure: undefined }]);
  expect(parseTargets("http://a:1, https://b:2,c:3")).toEqual([
    { address: "a:1", isSecure: false },
    { address: "b:2", isSecure: true },
    { address: "c:3", isSecure: undefined },
  ]);
});

test("what is no target is none, and spoils the list that it is in", () => {
  for (const text of [
    "",
    " ",
    "a:1,",
    "https://",
    "https://a:1/path",
    "https://a:1?b",
    "https://user@a:1",
    "https://a b",
    "https://a:99999",
  ])
    expect(parseTargets(text)).toBeUndefined();
});

test.each([
  ["::1:1", "[::1]:1"],
  ["::1", "[::1]:50051"],
  ["a:1, fe80::7:50051", "[fe80::7]:50051"],
  ["2001:db8::1", "[2001:db8::1]:50051"],
  ["1:2:3:4:5:6:7:8", "[1:2:3:4:5:6:7:8]:50051"],
  ["1:2:3:4:5:6:7:8:9", "[1:2:3:4:5:6:7:8]:9"],
])("%s may be an address with a port or without one, so it is no target, and %s is named instead", (text, meant) => {
  expect(parseTargets(text)).toBeUndefined();
  expect(targetFault(text)).toBe(`must have brackets around an IPv6 address: ${meant}, not "${text}"`);
});

test.each(["[::1]:1", "[::1]", "ipv6:[::1]:1", "unix:/run/c.sock", "dns://8.8.8.8/a:1"])("%s is left to gRPC", (text) => {
  expect(parseTargets(text)).toEqual([{ address: text, isSecure: undefined }]);
});

test("any IPv6 address needs brackets, with a port and without", () => {
  fc.assert(
    fc.property(fc.ipV6(), fc.integer({ min: 1, max: 65_535 }), (address, port) => {
      expect(parseTargets(`[${address}]:${port}`)).toHaveLength(1);
      expect(parseTargets(address)).toBeUndefined();
      expect(targetFault(`${address}:${port}`)).toContain("brackets");
    }),
  );
});

test("no text makes it throw, and a list has as many targets as texts between its commas", () => {
  const text = fc.oneof(fc.string(), fc.webUrl(), fc.constantFrom("a:1", "https://b:2", "http://c"));
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 4 }), (texts) => {
      const joined = texts.join(",");
      const targets = parseTargets(joined);
      targetFault(joined);
      if (targets !== undefined) expect(targets).toHaveLength(joined.split(",").length);
    }),
  );
});
