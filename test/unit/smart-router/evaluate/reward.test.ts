import { describe, expect, test } from "vitest";
import { parseReward } from "../../../../src/smart-router/evaluate/reward.js";

describe("parseReward", () => {
  test.each(["quality", "error", "cost"])("%s can be evaluated from a log", (name) => {
    expect(parseReward(name)).toBe(name);
  });

  test.each(["latency", "p99_latency", "duration_ms", "queue_time", "tail"])("%s is refused, with what to use instead", (name) => {
    expect(() => parseReward(name)).toThrow(
      expect.objectContaining({
        code: "invalid",
        message: expect.stringContaining("simulate"),
        fields: [expect.objectContaining({ field: "reward", reason: "NOT_EVALUABLE" })],
      }),
    );
  });

  test("an unknown name is refused, with those that are known", () => {
    expect(() => parseReward("happiness")).toThrow(/quality, error, cost/);
  });
});
