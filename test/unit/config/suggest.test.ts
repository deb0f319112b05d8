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
  expect(suggest(word, names)).toBe(meant);
});

test.each(["kubernetes", "x", "retention_days"])("%s resembles nothing", (word) => {
  expect(suggest(word, names)).toBeUndefined();
});
