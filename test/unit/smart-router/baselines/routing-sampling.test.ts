import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRng } from "../../../../src/platform/rng.js";
import { drawBeta } from "../../../../src/smart-router/baselines/beta.js";
import {
  createRoutingSampling,
  type RoutingSamplingSettings,
  routingSamplingDefaults,
} from "../../../../src/smart-router/baselines/routing-sampling.js";
import type { Policy } from "../../../../src/smart-router/policy.js";
import { asking, ended, targets } from "./fleet.js";

const shareOf = (policy: Policy, mcpId: string, names: readonly string[], requestType = "ocr"): number => {
  const rng = seededRng(7);
  const draws = Array.from({ length: 2_000 }, () => policy.choose(asking(requestType), targets(...names), 0, rng).mcpId);
  return draws.filter((drawn) => drawn === mcpId).length / draws.length;
};
const rates = (policy: Policy, mcpId: string, quality: number, count: number, requestType = "ocr"): void => {
  for (let each = 0; each < count; each += 1) policy.ended(ended(mcpId, { quality, request: asking(requestType), startedAtMs: 1_000 }));
};
const create = (settings: Partial<RoutingSamplingSettings>) => createRoutingSampling({ ...routingSamplingDefaults, ...settings });

describe("drawBeta", () => {
  test("has the mean and variance of the distribution", () => {
    for (const [alpha, beta] of [
      [1, 1],
      [3, 1],
      [40, 160],
    ] as const) {
      const rng = seededRng(3);
      const draws = Array.from({ length: 40_000 }, () => drawBeta(alpha, beta, rng));
      const mean = draws.reduce((sum, draw) => sum + draw, 0) / draws.length;
      const variance = draws.reduce((sum, draw) => sum + (draw - mean) ** 2, 0) / draws.length;
      const expected = alpha / (alpha + beta);
      expect(mean).toBeCloseTo(expected, 2);
      expect(variance / ((expected * (1 - expected)) / (alpha + beta + 1))).toBeCloseTo(1, 1);
    }
  });

  test("stays within 0 and 1", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 1, max: 1e5, noNaN: true }),
        fc.double({ min: 1, max: 1e5, noNaN: true }),
        fc.nat(),
        (alpha, beta, seed) => {
          const drawn = drawBeta(alpha, beta, seededRng(seed));
          expect(drawn).toBeGreaterThanOrEqual(0);
          expect(drawn).toBeLessThanOrEqual(1);
        },
      ),
    );
  });
});

describe("vLLM Semantic Router's routing_sampling", () => {
  test("learns new types of requests also after strangers have made up more names than it keeps", () => {
    const policy = create({});
    for (let each = 0; each < 65_536; each += 1) rates(policy, "a", 1, 1, `made up ${each}`);
    rates(policy, "a", 0, 50, "real");
    rates(policy, "b", 1, 50, "real");
    expect(shareOf(policy, "b", ["a", "b"], "real")).toBe(1);
  });

  test("without experience everyone has the same chance, and the probability of a choice is not known", () => {
    const policy = create({});
    expect(Math.abs(shareOf(policy, "a", ["a", "b"]) - 0.5)).toBeLessThan(0.04);
    expect(policy.choose(asking("ocr"), targets("a", "b"), 0, seededRng(1)).propensity).toBeNaN();
  });

  test("good fits draw requests of their type, and of no other", () => {
    const policy = create({});
    rates(policy, "a", 1, 30);
    rates(policy, "b", 0, 30);
    expect(shareOf(policy, "a", ["a", "b"])).toBeGreaterThan(0.99);
    expect(Math.abs(shareOf(policy, "a", ["a", "b"], "text") - 0.5)).toBeLessThan(0.04);
  });

  test("qualities count as good from 0.5 up, whatever they are", () => {
    const policy = create({});
    rates(policy, "a", 0.5, 200);
    rates(policy, "b", 1, 200);
    expect(Math.abs(shareOf(policy, "a", ["a", "b"]) - 0.5)).toBeLessThan(0.04);
  });

  test("an MCP that is a hundred times slower and overloaded keeps its share: load is not in the score", () => {
    const policy = create({});
    rates(policy, "a", 1, 400);
    rates(policy, "b", 1, 400);
    for (let each = 0; each < 50; each += 1) policy.ended(ended("a", { request: asking("ocr"), startedAtMs: 0, endedAtMs: 100 }));
    expect(shareOf(policy, "a", ["a", "b"])).toBeGreaterThan(0.2);
  });

  test("failures cost at most a tenth", () => {
    const policy = create({});
    rates(policy, "a", 1, 2_000);
    rates(policy, "b", 1, 1_000);
    for (let each = 0; each < 1_000; each += 1) policy.ended(ended("b", { result: "error", request: asking("ocr"), startedAtMs: 1_000 }));
    expect(shareOf(policy, "b", ["a", "b"])).toBe(0);
    rates(policy, "a", 0, 400);
    expect(shareOf(policy, "b", ["a", "b"])).toBe(1);
  });

  test("a price counts 0.04, 0.06 or 0.10 by the candidate set", () => {
    const share = (candidateSet: RoutingSamplingSettings["candidateSet"], goodOfDear: number): number => {
      const policy = create({ candidateSet, prices: new Map([["dear", 10]]) });
      rates(policy, "cheap", 1, 80_000);
      rates(policy, "cheap", 0, 20_000);
      rates(policy, "dear", 1, goodOfDear);
      rates(policy, "dear", 0, 100_000 - goodOfDear);
      return shareOf(policy, "dear", ["cheap", "dear"]);
    };
    expect([share("decision", 83_000), share("decision", 85_000)]).toEqual([0, 1]);
    expect([share("tier", 85_000), share("tier", 87_000)]).toEqual([0, 1]);
    expect([share("global", 89_000), share("global", 91_000)]).toEqual([0, 1]);
  });

  test("the base is kept until another one is ahead by the margin of the set", () => {
    const share = (candidateSet: RoutingSamplingSettings["candidateSet"], goodOfOther: number): number => {
      const policy = create({ candidateSet, baseMcpId: "base" });
      rates(policy, "base", 1, 80_000);
      rates(policy, "base", 0, 20_000);
      rates(policy, "other", 1, goodOfOther);
      rates(policy, "other", 0, 100_000 - goodOfOther);
      return shareOf(policy, "other", ["base", "other"]);
    };
    expect(share("decision", 81_500)).toBe(1);
    expect([share("tier", 81_500), share("tier", 84_500)]).toEqual([0, 1]);
    expect([share("global", 86_500), share("global", 89_500)]).toEqual([0, 1]);
  });

  test("what an operator believes counts as two outcomes, until the first real one", () => {
    const policy = create({ qualityScores: new Map([["a", 1]]) });
    const before = shareOf(policy, "a", ["a", "b"]);
    expect(Math.abs(before - 3 / 4)).toBeLessThan(0.04); // Beta(3, 1) is above a uniform draw three times of four
    rates(policy, "a", 0, 1);
    expect(Math.abs(shareOf(policy, "a", ["a", "b"]) - 1 / 3)).toBeLessThan(0.04);
  });
});
