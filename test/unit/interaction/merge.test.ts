import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Facts } from "../../../src/interaction/event.js";
import { type MergeInput, mergeEvents } from "../../../src/interaction/merge.js";

const facts = (kind: MergeInput["kind"], n: number): Facts => {
  if (kind === "start")
    return {
      kind: "start",
      requestType: `t${n}`,
      sessionId: "",
      userPseudonym: "",
      routingDecisionId: "",
      inputBytes: 0,
      qualityLevel: "",
      privacyLevel: "",
    };
  if (kind === "progress") return { kind: "progress" };
  return {
    kind: "terminal",
    success: kind === "complete",
    durationMs: n,
    qualityScore: undefined,
    errorCode: kind === "error" ? `E${n}` : "",
    adapterUsed: "",
  };
};

const inputs = fc.uniqueArray(
  fc.record({
    kind: fc.constantFrom("start", "progress", "complete", "error"),
    n: fc.integer({ min: 1, max: 9 }),
    occurredAtUs: fc.integer({ min: 1, max: 100 }),
    id: fc.integer({ min: 0, max: 10_000 }),
  }),
  { selector: (event) => event.id, minLength: 1, maxLength: 12 },
);

const toInput = (event: { kind: string; n: number; occurredAtUs: number; id: number }): MergeInput => {
  const kind = event.kind as MergeInput["kind"];
  return { eventId: String(event.id).padStart(6, "0"), kind, occurredAtUs: event.occurredAtUs, facts: facts(kind, event.n) };
};

describe("mergeEvents", () => {
  it("gives the same for any order and any repetition", () => {
    fc.assert(
      fc.property(inputs, fc.array(fc.nat(), { maxLength: 20 }), fc.nat(), (events, repeats, rotation) => {
        const list = events.map(toInput);
        const repeated = [...list, ...repeats.flatMap((i) => list[i % list.length] ?? [])];
        const turned = repeated.map((_, i) => repeated[(i + rotation) % repeated.length]).filter((event) => event !== undefined);
        expect(mergeEvents([...turned].reverse())).toEqual(mergeEvents(list));
      }),
    );
  });

  const one = (id: string, kind: MergeInput["kind"], occurredAtUs: number): MergeInput => ({
    eventId: id,
    kind,
    occurredAtUs,
    facts: facts(kind, 1),
  });

  it("lets a terminal event outrank everything that comes after it, and says that something came", () => {
    const merged = mergeEvents([one("1", "start", 10), one("2", "complete", 20), one("3", "progress", 30)]);
    expect(merged).toMatchObject({ state: "completed", endedAtUs: 20, lastEventAtUs: 30, lateEvents: true });
  });

  it("says that the start is missing until it comes", () => {
    expect(mergeEvents([one("2", "error", 20)])).toMatchObject({ state: "failed", missingStart: true, errorCode: "E1" });
    expect(mergeEvents([one("2", "error", 20), one("1", "start", 10)])).toMatchObject({ missingStart: false, startedAtUs: 10 });
  });

  it("lets the latest minted of two contradicting ends decide, and marks the contradiction", () => {
    const merged = mergeEvents([one("1", "complete", 20), one("2", "error", 10)]);
    expect(merged).toMatchObject({ state: "failed", endedAtUs: 10, conflictingTerminal: true });
  });

  it("sees no contradiction in two ends that agree", () => {
    expect(mergeEvents([one("1", "complete", 20), one("2", "complete", 10)]).conflictingTerminal).toBe(false);
  });
});
