import fc from "fast-check";
import { expect, test } from "vitest";
import { parseTargets } from "../../../src/client/target.js";

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

test("no text makes it throw, and a list has as many targets as texts between its commas", () => {
  const text = fc.oneof(fc.string(), fc.webUrl(), fc.constantFrom("a:1", "https://b:2", "http://c"));
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 4 }), (texts) => {
      const joined = texts.join(",");
      const targets = parseTargets(joined);
      if (targets !== undefined) expect(targets).toHaveLength(joined.split(",").length);
    }),
  );
});
