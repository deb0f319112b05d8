import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRng } from "../../../../src/platform/rng.js";
import { createA58Weights } from "../../../../src/smart-router/baselines/a58-weights.js";
import { createC3 } from "../../../../src/smart-router/baselines/c3.js";
import { createLeastRequests, createTwoChoices } from "../../../../src/smart-router/baselines/least-requests.js";
import { withOutlierDetection } from "../../../../src/smart-router/baselines/outlier-detection.js";
import { createPeakEwma } from "../../../../src/smart-router/baselines/peak-ewma.js";
import { createPrequal, prequalDefaults, reuseOf } from "../../../../src/smart-router/baselines/prequal.js";
import { createRandom } from "../../../../src/smart-router/baselines/random.js";
import { createRoundRobin } from "../../../../src/smart-router/baselines/round-robin.js";
import { pickByStride } from "../../../../src/smart-router/baselines/static-stride.js";
import { createStaticWeights } from "../../../../src/smart-router/baselines/static-weights.js";
import type { Probe, ProbeReading } from "../../../../src/smart-router/baselines/surroundings.js";
import type { Ended, Policy, Target } from "../../../../src/smart-router/policy.js";
import { plainRequest } from "../../../../src/smart-router/request.js";

const target = (mcpId: string, inFlight = 0, weight = 100): Target => ({
  mcpId,
  state: "healthy",
  inFlight,
  capacity: 10,
  slowStart: 1,
  weight,
});
let named = 0;
const assign = (policy: Policy, mcpId: string, atMs: number, inFlightBefore = 0): string => {
  const decisionId = `d${named++}`;
  policy.assigned({ decisionId, mcpId, request: plainRequest, atMs, inFlightBefore });
  return decisionId;
};
const end = (
  policy: Policy,
  mcpId: string,
  startedAtMs: number,
  endedAtMs: number,
  result: Ended["result"] = "ok",
  inFlightBefore = 0,
): void =>
  policy.ended({
    decisionId: `d${named++}`,
    mcpId,
    request: plainRequest,
    startedAtMs,
    endedAtMs,
    inFlightBefore,
    result,
    durationMs: undefined,
    quality: undefined,
    auditedQuality: undefined,
    cost: undefined,
  });
const silent: Probe = () => {};
const all: readonly (() => Policy)[] = [
  createRandom,
  createRoundRobin,
  createStaticWeights,
  createA58Weights,
  createLeastRequests,
  createTwoChoices,
  createPeakEwma,
  () => createC3(1),
  () => createPrequal({ rng: seededRng(1), probe: silent }),
];

describe("every balancer", () => {
  test("chooses one of the targets, with a probability, and asking twice changes nothing", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { minLength: 1, maxLength: 12 }), fc.nat(), (loads, seed) => {
        const targets = loads.map((load, index) => target(`mcp-${String.fromCharCode(97 + index)}`, load));
        for (const create of all) {
          const policy = create();
          for (const one of targets.slice(0, 2)) end(policy, one.mcpId, 0, 100);
          const choose = () => policy.choose(plainRequest, targets, 200, seededRng(seed));
          const first = choose();
          expect(targets.map((one) => one.mcpId)).toContain(first.mcpId);
          expect(first.propensity).toBeGreaterThan(0);
          expect(first.propensity).toBeLessThanOrEqual(1);
          expect(choose()).toEqual(first);
        }
      }),
    );
  });

  test.each([createRandom, createLeastRequests, createTwoChoices, createPeakEwma])(
    "tells the probability with which it chooses",
    (create) => {
      const policy = create();
      const targets = [target("a", 1), target("b", 1), target("c", 3), target("d", 0)];
      for (const [index, { mcpId }] of targets.entries()) end(policy, mcpId, 0, 100 + 10 * index);
      const rng = seededRng(9);
      const counts = new Map<string, { count: number; propensity: number }>();
      for (let draw = 0; draw < 20_000; draw++) {
        const { mcpId, propensity } = policy.choose(plainRequest, targets, 500, rng);
        counts.set(mcpId, { count: (counts.get(mcpId)?.count ?? 0) + 1, propensity });
      }
      for (const { count, propensity } of counts.values()) expect(Math.abs(count / 20_000 - propensity)).toBeLessThan(0.015);
    },
  );
});

describe("single balancers", () => {
  test("round robin goes round", () => {
    const policy = createRoundRobin();
    const targets = ["a", "b", "c"].map((id) => target(id));
    const order = Array.from({ length: 5 }, () => {
      const { mcpId } = policy.choose(plainRequest, targets, 0, seededRng(1));
      assign(policy, mcpId, 0);
      return mcpId;
    });
    expect(order.join("")).toBe("abcab");
  });

  test("static stride gives everyone its share", () => {
    const weights = [1, 2, 5];
    const counts = [0, 0, 0];
    for (let sequence = 0, picked = 0; picked < 8_000; picked++) {
      const { index, next } = pickByStride(weights, sequence);
      counts[index] = (counts[index] ?? 0) + 1;
      sequence = next;
    }
    for (const [index, count] of counts.entries()) expect(count / 1_000).toBeCloseTo(weights[index] ?? 0, 1);
  });

  test("A58 gives the slower one less, after the blackout and not before", () => {
    const policy = createA58Weights();
    const targets = [target("a"), target("b")];
    const share = (nowMs: number): number => {
      let count = 0;
      for (let draw = 0; draw < 100; draw++) {
        const { mcpId } = policy.choose(plainRequest, targets, nowMs, seededRng(1));
        assign(policy, mcpId, nowMs);
        count += mcpId === "a" ? 1 : 0;
      }
      return count / 100;
    };
    const serve = (fromMs: number, untilMs: number): void => {
      for (let atMs = fromMs; atMs < untilMs; atMs += 100) {
        end(policy, "a", atMs - 100, atMs);
        end(policy, "b", atMs - 300, atMs);
        if (atMs % 1_000 === 0) policy.tick(atMs);
      }
    };
    share(0);
    serve(0, 9_000);
    expect(share(9_000)).toBe(0.5);
    serve(9_000, 20_000);
    expect(share(20_000)).toBeGreaterThan(0.7);
  });

  test("peak EWMA goes up at once and comes down slowly", () => {
    const policy = createPeakEwma();
    const targets = [target("a"), target("b")];
    for (const id of ["a", "b"]) end(policy, id, 0, 100);
    end(policy, "a", 100, 2_100);
    const chosen = (nowMs: number): string => policy.choose(plainRequest, targets, nowMs, seededRng(3)).mcpId;
    expect(chosen(2_200)).toBe("b");
    end(policy, "a", 2_100, 2_150);
    expect(chosen(2_200)).toBe("b");
  });

  test("C3 avoids a long queue more than a slow server", () => {
    const policy = createC3(1);
    for (const [id, latencyMs] of [
      ["fast", 50],
      ["slow", 100],
    ] as const)
      for (let index = 0; index < 50; index++) end(policy, id, 0, latencyMs);
    const chosen = (inFlight: number): string =>
      policy.choose(plainRequest, [target("fast", inFlight), target("slow", 0)], 0, seededRng(1)).mcpId;
    expect(chosen(0)).toBe("fast");
    expect(chosen(2)).toBe("slow");
  });

  test("outlier detection never judges at a few requests a minute, and does at a hundred in an interval", () => {
    const targets = ["a", "b", "c", "d", "e", "f"].map((id) => target(id));
    const choosesA = (perInterval: number): boolean => {
      const policy = withOutlierDetection(createRandom());
      for (const { mcpId } of targets) assign(policy, mcpId, 0);
      policy.tick(0);
      for (const { mcpId } of targets)
        for (let index = 0; index < perInterval; index++) end(policy, mcpId, 0, 10, mcpId === "a" ? "error" : "ok");
      policy.tick(10_000);
      const rng = seededRng(1);
      return Array.from({ length: 200 }, () => policy.choose(plainRequest, targets, 10_000, rng).mcpId).includes("a");
    };
    expect(choosesA(40)).toBe(true);
    expect(choosesA(120)).toBe(false);
  });
});

describe("Prequal", () => {
  const targets = ["a", "b", "c"].map((id) => target(id));

  /** A Prequal whose probes are answered at once with these readings, whoever is asked. */
  function fed(readings: readonly Omit<ProbeReading, "mcpId">[]): Policy {
    const probe: Probe = (mcpId, nowMs, answered) => {
      const reading = readings[["a", "b", "c"].indexOf(mcpId)];
      if (reading !== undefined) answered({ mcpId, ...reading }, nowMs);
    };
    const policy = createPrequal(
      { rng: seededRng(4), probe },
      { ...prequalDefaults, removalsPerRequest: 0, probesPerRequest: 20, poolMax: 30 },
    );
    policy.choose(plainRequest, targets, 0, seededRng(1));
    assign(policy, "elsewhere", 0);
    return policy;
  }

  test("takes the fastest of the cold ones, and the least busy when all are hot", () => {
    const cold = fed([
      { inFlight: 1, latencyMs: 90 },
      { inFlight: 2, latencyMs: 40 },
      { inFlight: 9, latencyMs: 10 },
    ]);
    expect(cold.choose(plainRequest, targets, 1, seededRng(1)).mcpId).toBe("b");
  });

  test("knows too little with fewer than two readings, and with old ones", () => {
    const policy = fed([
      { inFlight: 1, latencyMs: 90 },
      { inFlight: 2, latencyMs: 40 },
      { inFlight: 3, latencyMs: 10 },
    ]);
    expect(policy.choose(plainRequest, targets, 1_500, seededRng(1)).propensity).toBeCloseTo(1 / 3);
  });

  test.each(["ok", "error", "expired"] as const)("counts an own request at once, and no longer once it has ended: %s", (result) => {
    const policy = fed([
      { inFlight: 1, latencyMs: 50 },
      { inFlight: 1, latencyMs: 60 },
      { inFlight: 1, latencyMs: 70 },
    ]);
    const chosen = (): string => policy.choose(plainRequest, targets, 10, seededRng(1)).mcpId;
    expect(chosen()).toBe("a");
    policy.assigned({ decisionId: "one", mcpId: "a", request: plainRequest, atMs: 5, inFlightBefore: 1 });
    for (let round = 0; round < 50; round++) {
      assign(policy, "a", 6, 1);
      end(policy, "a", 6, 8, result, 1);
    }
    end(policy, "a", 5, 9, result, 1);
    expect(chosen()).toBe("a");
  });

  test("a reading may be used as often as the paper says: the share of unprobed MCPs multiplies the probes alone", () => {
    // (1 + 1) / ((1 − 16/100) · 3 − 1) = 1.316; with the removals inside of the bracket it would be 1.19.
    expect(reuseOf(prequalDefaults, 100)).toBeCloseTo(1.3158, 4);
    expect(reuseOf(prequalDefaults, 1_000_000)).toBeCloseTo(1, 3);
    expect(reuseOf(prequalDefaults, 16)).toBe(Number.POSITIVE_INFINITY);
  });
});
