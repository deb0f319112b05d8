import fc from "fast-check";
import { expect, test } from "vitest";
import { suggest } from "../../../src/config/suggest.js";

const names = ["grpc_port", "web_port", "host", "drain_seconds"];

test.each([
  ["grpc_prot", "grpc_port"],
  ["grpcPort", "grpc_port"],
  ["GRPC-PORT", "grpc_port"],
  ["hots", "host"],
  ["drain_secs", "drain_seconds"],
])("%s was meant to be %s", (word, meant) => {
  expect(suggest(word, names)).toEqual([meant]);
});

test("a word that is part of names is nearer to those than to one with other letters, and two that are as near are both named", () => {
  expect(suggest("port", names)).toEqual(["grpc_port", "web_port"]);
  expect(suggest("drain", names)).toEqual(["drain_seconds"]);
});

test("no word is more than two names, and each name is meant by itself", () => {
  fc.assert(fc.property(fc.string(), (word) => void expect(suggest(word, names).length).toBeLessThanOrEqual(2)));
  for (const name of names) expect(suggest(name.toUpperCase(), names)).toEqual([name]);
});

test.each(["_", "kubernetes", "x", "retention_days"])("%s resembles nothing", (word) => {
  expect(suggest(word, names)).toEqual([]);
});
