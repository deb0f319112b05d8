import { describe, expect, it } from "vitest";
import { createKeyRing } from "../../../src/auth/api-key.js";
import { sha256Hex } from "../../../src/config/samples.js";
import { judgeKeys } from "../../../src/intake/http/credential.js";
import { CoordinatorError } from "../../../src/platform/errors.js";

const ring = createKeyRing(
  ["ocr", "all"].map((id) => ({ id, mcpId: id, sha256: sha256Hex(`key-of-${id}`), isDisabled: false })),
  { nowMs: () => 0 },
);

function judge(header: string | undefined, body: unknown, mayStandIn: boolean): string {
  try {
    const principal = judgeKeys(ring.authenticate, header, body, mayStandIn);
    return principal.kind === "key" ? principal.keyId : "anyone";
  } catch (thrown) {
    return CoordinatorError.from(thrown).reason;
  }
}

const ocr = { api_key: "key-of-ocr" };
const all = { api_key: "key-of-all" };
const header = "Bearer key-of-ocr";

describe("keys of header and body", () => {
  it.each<[string, string | undefined, unknown, boolean, string]>([
    ["the header alone", header, {}, false, "ocr"],
    ["both, the same", header, ocr, false, "ocr"],
    ["both, the same, in an array", header, [ocr, {}, ocr], true, "ocr"],
    ["both, different", header, all, true, "FIELD_VIOLATION"],
    ["one of an array different", header, [ocr, all], false, "FIELD_VIOLATION"],
    ["a body's key where it may stand in", undefined, ocr, true, "ocr"],
    ["an array's key where it may stand in", undefined, [all, all], true, "all"],
    ["keys of an array that differ", undefined, [ocr, all], true, "FIELD_VIOLATION"],
    ["a body's key where it may not", undefined, ocr, false, "KEY_MISSING"],
    ["a body's key that nobody knows", undefined, { api_key: "x" }, true, "KEY_UNKNOWN"],
    ["a body's key that is no text", undefined, { api_key: 1 }, true, "KEY_MISSING"],
    ["none", undefined, {}, true, "KEY_MISSING"],
    ["a wrong header beside a right body", "Bearer x", ocr, true, "KEY_UNKNOWN"],
    ["another scheme", "Basic x", {}, true, "KEY_MISSING"],
    ["the scheme in lower case", "bearer key-of-ocr", ocr, false, "ocr"],
  ])("%s", (_what, shown, body, mayStandIn, outcome) => {
    expect(judge(shown, body, mayStandIn)).toBe(outcome);
  });
});
