import { describe, expect, test } from "vitest";
import { seededRng } from "../../../../src/platform/rng.js";
import { createLiteLlmLatency, liteLlmDefaults } from "../../../../src/smart-router/baselines/litellm-latency.js";
import type { Policy } from "../../../../src/smart-router/policy.js";
import { plainRequest } from "../../../../src/smart-router/request.js";
import { ended, targets } from "./fleet.js";

const fixed = () => createLiteLlmLatency({ ...liteLlmDefaults, variant: "fixed" });
const chosen = (policy: Policy, names: readonly string[], nowMs = 1_000): ReadonlySet<string> => {
  const rng = seededRng(1);
  return new Set(Array.from({ length: 60 }, () => policy.choose(plainRequest, targets(...names), nowMs, rng).mcpId));
};
const answers = (policy: Policy, mcpId: string, latencyMs: number, count = 1): void => {
  for (let each = 0; each < count; each += 1) policy.ended(ended(mcpId, { startedAtMs: 1_000 - latencyMs }));
};

describe("LiteLLM's latency-based routing", () => {
  test("chooses among those within half of the least mean, each with the same probability", () => {
    const policy = createLiteLlmLatency();
    answers(policy, "a", 100);
    answers(policy, "b", 149);
    answers(policy, "c", 151);
    expect(chosen(policy, ["a", "b", "c"])).toEqual(new Set(["a", "b"]));
    expect(policy.choose(plainRequest, targets("a", "b", "c"), 1_000, () => 0).propensity).toBe(0.5);
  });

  test("as shipped, a newcomer gets everything until its first answer", () => {
    const policy = createLiteLlmLatency();
    answers(policy, "a", 100);
    expect(chosen(policy, ["a", "new"])).toEqual(new Set(["new"]));
    answers(policy, "new", 1_000);
    expect(chosen(policy, ["a", "new"])).toEqual(new Set(["a"]));
  });

  test("fixed, a newcomer counts like the mean of the others", () => {
    const policy = fixed();
    answers(policy, "a", 100);
    answers(policy, "b", 300);
    expect(chosen(policy, ["a", "b", "new"])).toEqual(new Set(["a"]));
    expect(chosen(policy, ["b", "new"])).toEqual(new Set(["b", "new"]));
  });

  test("as shipped, a full list keeps its oldest nine, so an MCP that becomes slow is noticed late; fixed, it drops them", () => {
    for (const [policy, expected] of [
      [createLiteLlmLatency(), "a"],
      [fixed(), "b"],
    ] as const) {
      answers(policy, "a", 10, 10);
      answers(policy, "b", 200, 10);
      answers(policy, "a", 1_000, 10);
      expect(chosen(policy, ["a", "b"])).toEqual(new Set([expected]));
    }
  });

  test("as shipped, an MCP that fails fast looks as good as before; a time-out counts a thousand seconds", () => {
    const policy = createLiteLlmLatency();
    answers(policy, "a", 100);
    answers(policy, "b", 100);
    policy.ended(ended("a", { result: "error", startedAtMs: 999 }));
    expect(chosen(policy, ["a", "b"])).toEqual(new Set(["a", "b"]));
    policy.ended(ended("a", { result: "expired" }));
    expect(chosen(policy, ["a", "b"])).toEqual(new Set(["b"]));
    const other = fixed();
    answers(other, "a", 100);
    answers(other, "b", 100);
    other.ended(ended("a", { result: "error", startedAtMs: 999 }));
    expect(chosen(other, ["a", "b"])).toEqual(new Set(["b"]));
  });

  test("what is older than an hour does not count", () => {
    const policy = fixed();
    answers(policy, "a", 100);
    policy.ended(ended("b", { startedAtMs: 3_999_000, endedAtMs: 4_000_000 }));
    expect(chosen(policy, ["a", "b"], 4_000_000)).toEqual(new Set(["a", "b"]));
  });
});
