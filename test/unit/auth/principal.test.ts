import { expect, test } from "vitest";
import { boundMcpId, mayActFor, type Principal, scopeTo } from "../../../src/auth/principal.js";

const anyone: Principal = { kind: "anyone" };
const any: Principal = { kind: "key", keyId: "a", mcpId: "*" };
const ocr: Principal = { kind: "key", keyId: "b", mcpId: "ocr" };

test("a key bound to one MCP acts for that one only; the others act for all", () => {
  expect([anyone, any, ocr].map((who) => [mayActFor(who, "ocr"), mayActFor(who, "speech"), boundMcpId(who)])).toEqual([
    [true, true, undefined],
    [true, true, undefined],
    [true, false, "ocr"],
  ]);
});

test("a read without an MCP is about the bound one, and about another MCP it is forbidden", () => {
  expect([scopeTo(anyone, ""), scopeTo(ocr, ""), scopeTo(ocr, "ocr"), scopeTo(any, "speech")]).toEqual([undefined, "ocr", "ocr", "speech"]);
  expect(() => scopeTo(ocr, "speech")).toThrow(expect.objectContaining({ code: "forbidden", reason: "MCP_NOT_ALLOWED" }));
});
