import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { limits } from "../../../src/platform/limits.js";
import { type Committed, createSignals, type McpSignals } from "../../../src/smart-router/signals.js";

const settings = { halfLifeMs: 10_000, weightExpirationPeriodMs: 180_000 };

function ended(atMs: number, more: { mcpId?: string; success?: boolean; durationMs?: number | undefined } = {}): Committed {
  const { mcpId = "a", success = true } = more;
  const durationMs = "durationMs" in more ? more.durationMs : 100;
  const facts = { kind: "terminal", success, durationMs, qualityScore: undefined, errorCode: "", adapterUsed: "" } as const;
  return { mcpId, facts, receivedAtMonoMs: atMs };
}

const progressed = (atMs: number, mcpId = "a"): Committed => ({ mcpId, facts: { kind: "progress" }, receivedAtMonoMs: atMs });

function signalsOf(events: readonly Committed[], nowMs: number, mcpId = "a"): McpSignals {
  const signals = createSignals(settings);
  signals.observe(events);
  const read = signals.read(nowMs).get(mcpId);
  if (read === undefined) throw new Error(`${mcpId} is not remembered`);
  return read;
}

const steady = (perSecond: number, seconds: number, failEvery = Number.POSITIVE_INFINITY): Committed[] =>
  Array.from({ length: perSecond * seconds }, (_, index) => ended((index * 1_000) / perSecond, { success: (index + 1) % failEvery !== 0 }));

describe("signals", () => {
  test.each([2, 5, 20, 120])("a steady rate reads true after %i seconds", (seconds) => {
    const { qps, eps } = signalsOf(steady(20, seconds, 4), seconds * 1_000);
    expect(qps).toBeGreaterThan(19.5);
    expect(qps).toBeLessThan(20.5);
    expect(eps).toBeGreaterThan(4.5);
    expect(eps).toBeLessThan(5.5);
  });

  test("a rate halves in every half-life of silence", () => {
    const events = steady(20, 200);
    const before = signalsOf(events, 200_000).qps;
    expect(signalsOf(events, 210_000).qps / before).toBeCloseTo(0.5, 3);
    expect(signalsOf(events, 230_000).qps / before).toBeCloseTo(0.125, 3);
  });

  test("latency is the mean of recent durations and follows a step within a few half-lives", () => {
    const slow = Array.from({ length: 400 }, (_, index) => ended(60_000 + index * 100, { durationMs: 2_000 }));
    expect(signalsOf(steady(10, 60), 60_000).latencyMs).toBeCloseTo(100, 6);
    expect(signalsOf([...steady(10, 60), ...slow], 100_000).latencyMs).toBeGreaterThan(1_850);
  });

  test("no sample is not 0 ms: without a duration there is no latency", () => {
    expect(signalsOf([ended(0, { durationMs: undefined }), progressed(5)], 10).latencyMs).toBeUndefined();
    expect(signalsOf([progressed(0)], 10)).toMatchObject({ latencyMs: undefined, qps: 0, endedAtMs: undefined, heardAtMs: 0 });
    expect(signalsOf([ended(0, { durationMs: 0 })], 10).latencyMs).toBe(0);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, -1])(
    "a duration of %d counts as none, and the interaction still counts",
    (durationMs) => {
      const { latencyMs, qps } = signalsOf([ended(0), ended(0, { durationMs })], 1_000);
      expect(latencyMs).toBe(100);
      expect(qps).toBeCloseTo(2, 0);
    },
  );

  test("one absurd duration counts as an hour", () => {
    expect(signalsOf([ended(0, { durationMs: 1e300 })], 0).latencyMs).toBe(3_600_000);
  });

  test("failing fast does not look like being fast, failing slowly looks slow", () => {
    const fast = [ended(0, { durationMs: 500 }), ended(0, { durationMs: 1, success: false })];
    const slow = [ended(0, { durationMs: 500 }), ended(0, { durationMs: 4_500, success: false })];
    expect(signalsOf(fast, 0).latencyMs).toBe(500);
    expect(signalsOf(slow, 0).latencyMs).toBe(2_500);
    expect(signalsOf([ended(0, { durationMs: 7, success: false })], 0).latencyMs).toBe(7);
  });

  test("the blackout begins with the first end, and again after the signals have expired", () => {
    expect(signalsOf([progressed(0), ended(500), ended(900)], 1_000).usableSinceMs).toBe(500);
    expect(signalsOf([ended(0), ended(179_999)], 180_000).usableSinceMs).toBe(0);
    expect(signalsOf([ended(0), ended(180_000)], 180_000).usableSinceMs).toBe(180_000);
  });

  test("the longest silent MCP is forgotten when there are too many", () => {
    const signals = createSignals(settings, 3);
    signals.observe([progressed(0, "a"), progressed(0, "b"), progressed(0, "c"), progressed(2_000, "a"), progressed(3_000, "d")]);
    expect([...signals.read(3_000).keys()].sort()).toEqual(["a", "c", "d"]);
  });

  test("a stranger with ever new names costs no more memory than the bound", () => {
    const signals = createSignals(settings);
    for (let index = 0; index < 3 * limits.routedMcpMax; index += 1) signals.observe([ended(index, { mcpId: `mcp-${index}` })]);
    expect(signals.read(0).size).toBe(limits.routedMcpMax);
  });

  test("the order in which lanes bring events does not matter", () => {
    const event = fc.record({
      atMs: fc.integer({ min: 0, max: 60_000 }),
      success: fc.boolean(),
      durationMs: fc.option(fc.integer({ min: 0, max: 10_000 }), { nil: undefined }),
    });
    const inTwoOrders = fc
      .array(event, { minLength: 1, maxLength: 40 })
      .chain((events) =>
        fc.tuple(fc.constant(events), fc.shuffledSubarray(events, { minLength: events.length, maxLength: events.length })),
      );
    fc.assert(
      fc.property(inTwoOrders, ([one, other]) => {
        const fold = (events: typeof one) =>
          signalsOf(
            events.map((drawn) => ended(drawn.atMs, drawn)),
            60_000,
          );
        const [a, b] = [fold(one), fold(other)];
        expect(b.qps).toBeCloseTo(a.qps, 9);
        expect(b.eps).toBeCloseTo(a.eps, 9);
        expect(b.latencyMs === undefined).toBe(a.latencyMs === undefined);
        expect(b.latencyMs ?? 0).toBeCloseTo(a.latencyMs ?? 0, 6);
        expect([b.heardAtMs, b.endedAtMs]).toEqual([a.heardAtMs, a.endedAtMs]);
      }),
    );
  });
});
