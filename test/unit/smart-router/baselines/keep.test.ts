import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { limits } from "../../../../src/platform/limits.js";
import { seededRng } from "../../../../src/platform/rng.js";
import { createC3 } from "../../../../src/smart-router/baselines/c3.js";
import { keep } from "../../../../src/smart-router/baselines/keep.js";
import { asking, ended, targets } from "./fleet.js";

describe("what a policy keeps of each MCP", () => {
  test("is that of those it was put for last, and never of more than it may", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(..."abcdefgh"), { maxLength: 40 }), fc.integer({ min: 1, max: 5 }), (keys, max) => {
        const kept = new Map<string, number>();
        keys.forEach((key, at) => void keep(kept, key, at, max));
        const last = [...new Set(keys.toReversed())].slice(0, max);
        expect([...kept]).toEqual(last.toReversed().map((key) => [key, keys.lastIndexOf(key)]));
      }),
    );
  });

  test("does not grow with every MCP that ever was: who ended nothing for long is a stranger again", () => {
    const policy = createC3(1);
    policy.ended(ended("gone"));
    for (let at = 0; at < limits.routedMcpMax; at += 1) policy.ended(ended(`mcp-${at}`));
    expect(policy.choose(asking("ocr"), targets("gone", "mcp-1"), 2_000, seededRng(1)).mcpId).toBe("gone");
  });
});
