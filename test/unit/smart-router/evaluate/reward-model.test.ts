import { describe, expect, test } from "vitest";
import { seededRng } from "../../../../src/platform/rng.js";
import { crossFit, learnRewards } from "../../../../src/smart-router/evaluate/reward-model.js";
import { loggedWorld, meanQuality, row } from "./logs.js";

const rewarded = (seed: number, count: number) =>
  loggedWorld(count, 0.5, seededRng(seed)).map((each) => ({
    row: each,
    reward: each.outcome.kind === "complete" ? (each.outcome.quality ?? 0) : 0,
  }));

describe("learnRewards", () => {
  test("with many rows it comes near the mean of each pair", () => {
    const model = learnRewards(rewarded(1, 8_000));
    for (const requestType of ["ocr", "text"]) {
      for (const mcpId of ["a", "b"]) {
        const about = row(1, { requestType, requestClass: `${requestType}/3` });
        expect(Math.abs(model(about, mcpId) - (meanQuality[requestType]?.[mcpId] ?? 0))).toBeLessThan(0.04);
      }
    }
  });

  test("of an MCP that was never seen it expects the mean of the type, and of an unseen class that of its pair", () => {
    const model = learnRewards(rewarded(2, 4_000));
    expect(Math.abs(model(row(1), "stranger") - 0.6)).toBeLessThan(0.04);
    expect(Math.abs(model(row(1, { requestType: "ocr", requestClass: "ocr/9" }), "a") - 0.9)).toBeLessThan(0.05);
  });

  test("an MCP that got mostly the easy type is not expected to be good at the hard one", () => {
    // Both MCPs are equal: 0.9 in "easy", 0.3 in "hard"; "a" got nine tenths of the easy ones and a hundredth of the hard ones.
    const rng = seededRng(9);
    const rows = Array.from({ length: 4_000 }, (_, number) => {
      const requestType = rng() < 0.5 ? "easy" : "hard";
      const chosen = rng() < (requestType === "easy" ? 0.9 : 0.01) ? "a" : "b";
      return {
        row: row(number, { requestType, requestClass: `${requestType}/3`, chosen }),
        reward: rng() < (requestType === "easy" ? 0.9 : 0.3) ? 1 : 0,
      };
    });
    expect(Math.abs(learnRewards(rows)(row(1, { requestType: "hard", requestClass: "hard/3" }), "a") - 0.3)).toBeLessThan(0.15);
  });

  test("without rows it expects nothing", () => {
    expect(learnRewards([])(row(1), "a")).toBe(0);
  });
});

describe("crossFit", () => {
  test("a row's own reward does not enter what is expected of it", () => {
    const rows = rewarded(3, 40);
    const before = crossFit(rows, 5);
    for (const [index, { row: about }] of rows.entries()) {
      const changed = rows.map((each, at) => (at === index ? { ...each, reward: 1_000 } : each));
      expect(crossFit(changed, 5)[index]?.(about, about.chosen)).toBe(before[index]?.(about, about.chosen));
    }
  });
});
