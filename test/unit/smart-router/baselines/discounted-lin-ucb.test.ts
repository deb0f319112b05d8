import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRng } from "../../../../src/platform/rng.js";
import { createDiscountedLinUcb, discountedLinUcbDefaults } from "../../../../src/smart-router/baselines/discounted-lin-ucb.js";
import { DiscountedRegression } from "../../../../src/smart-router/baselines/discounted-regression.js";
import type { Policy } from "../../../../src/smart-router/policy.js";
import { asking, ended, targets } from "./fleet.js";

const rates = (policy: Policy, mcpId: string, quality: number, count: number, requestType = "ocr"): void => {
  for (let each = 0; each < count; each += 1) policy.ended(ended(mcpId, { quality, request: asking(requestType) }));
};
const choice = (policy: Policy, requestType = "ocr") => policy.choose(asking(requestType), targets("a", "b"), 0, seededRng(1));

describe("DiscountedRegression", () => {
  test("with one constant feature it is the discounted ridge mean, and the bound that of the paper", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 30 }),
        fc.double({ min: 0.5, max: 0.999, noNaN: true }),
        fc.double({ min: 0.1, max: 5, noNaN: true }),
        (rewards, gamma, ridge) => {
          const model = new DiscountedRegression(3, gamma, ridge);
          let [v, vTilde, b] = [ridge, ridge, 0];
          for (const [index, reward] of rewards.entries()) {
            model.add(new Map([[0, 1]]), reward, index + 1);
            v = gamma * v + 1 + (1 - gamma) * ridge;
            vTilde = gamma * gamma * vTilde + 1 + (1 - gamma * gamma) * ridge;
            b = gamma * b + reward;
          }
          expect(model.upperBound(new Map([[0, 1]]), 2, rewards.length)).toBeCloseTo(b / v + 2 * Math.sqrt(vTilde / (v * v)), 9);
        },
      ),
    );
  });

  test("steps without an observation discount as much as if they were taken one by one", () => {
    const [jumped, walked] = [new DiscountedRegression(2, 0.9, 1), new DiscountedRegression(2, 0.9, 1)];
    for (const model of [jumped, walked])
      model.add(
        new Map([
          [0, 1],
          [1, 0.5],
        ]),
        1,
        1,
      );
    jumped.add(new Map([[1, 1]]), 0, 40);
    for (let step = 2; step < 40; step += 1) walked.add(new Map(), 0, step);
    walked.add(new Map([[1, 1]]), 0, 40);
    const asked = new Map([[0, 1]]);
    expect(jumped.upperBound(asked, 1, 40)).toBeCloseTo(walked.upperBound(asked, 1, 40), 12);
  });

  test("solves a regression on two features", () => {
    const model = new DiscountedRegression(2, 1, 1e-9);
    const rng = seededRng(4);
    for (let step = 1; step <= 200; step += 1) {
      const size = rng();
      model.add(
        new Map([
          [0, 1],
          [1, size],
        ]),
        0.2 + 0.5 * size,
        step,
      );
    }
    expect(
      model.upperBound(
        new Map([
          [0, 1],
          [1, 0.6],
        ]),
        0,
        200,
      ),
    ).toBeCloseTo(0.5, 6);
  });
});

describe("D-LinUCB", () => {
  test("tries whom it does not know, then takes the best for the type", () => {
    const policy = createDiscountedLinUcb({ ...discountedLinUcbDefaults, optimism: 1 });
    expect(choice(policy).propensity).toBe(0.5);
    rates(policy, "a", 0.4, 20);
    expect(choice(policy).mcpId).toBe("b");
    rates(policy, "b", 0.1, 50);
    expect(choice(policy)).toMatchObject({ mcpId: "a", propensity: 1 });
  });

  test("learns each type for itself", () => {
    const policy = createDiscountedLinUcb();
    for (const [mcpId, ocr] of [
      ["a", 0.9],
      ["b", 0.2],
    ] as const) {
      rates(policy, mcpId, ocr, 100, "ocr");
      rates(policy, mcpId, 1 - ocr, 100, "text");
    }
    expect([choice(policy, "ocr").mcpId, choice(policy, "text").mcpId]).toEqual(["a", "b"]);
  });

  test("forgets: who was good long ago is not preferred for ever", () => {
    const policy = createDiscountedLinUcb({ ...discountedLinUcbDefaults, halfLifeEnds: 50 });
    rates(policy, "a", 1, 100);
    rates(policy, "b", 0.5, 100);
    expect(choice(policy).mcpId).toBe("a");
    rates(policy, "a", 0, 100);
    expect(choice(policy).mcpId).toBe("b");
  });

  test("a failure is worth nothing, and an answer that nobody rated teaches nothing", () => {
    const policy = createDiscountedLinUcb();
    for (let each = 0; each < 50; each += 1) {
      policy.ended(ended("a", { result: "error", request: asking("ocr") }));
      policy.ended(ended("b", { quality: 0.5, request: asking("ocr") }));
    }
    expect(choice(policy).mcpId).toBe("b");
    const untaught = createDiscountedLinUcb();
    for (let each = 0; each < 50; each += 1) untaught.ended(ended("a", { request: asking("ocr") }));
    expect(choice(untaught).propensity).toBe(0.5);
  });

  test("load does not move it", () => {
    const policy = createDiscountedLinUcb();
    rates(policy, "a", 0.9, 50);
    rates(policy, "b", 0.5, 50);
    const busy = targets("a", "b").map((target) => (target.mcpId === "a" ? { ...target, inFlight: 9 } : target));
    expect(policy.choose(asking("ocr"), busy, 0, seededRng(1)).mcpId).toBe("a");
  });

  test("a price is worth what the operator says", () => {
    for (const [priceWeight, expected] of [
      [0.3, "a"],
      [0.5, "b"],
    ] as const) {
      const policy = createDiscountedLinUcb({ ...discountedLinUcbDefaults, optimism: 0, prices: new Map([["a", 7]]), priceWeight });
      rates(policy, "a", 0.9, 500);
      rates(policy, "b", 0.5, 500);
      expect(choice(policy).mcpId).toBe(expected);
    }
  });

  test("types beyond the limit share one feature", () => {
    const policy = createDiscountedLinUcb({ ...discountedLinUcbDefaults, typesMax: 1 });
    rates(policy, "a", 0.5, 5, "first");
    rates(policy, "b", 0.5, 5, "first");
    rates(policy, "a", 1, 50, "second");
    rates(policy, "b", 0, 50, "second");
    expect(choice(policy, "third").mcpId).toBe("a");
  });
});
