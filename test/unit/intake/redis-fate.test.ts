import { describe, expect, it } from "vitest";
import { createVerdict, retryableByStatus, type VerdictStatus } from "../../../src/ingest/verdict.js";
import { type Fate, fateOf, keyRefused, reasonOf, tooOften } from "../../../src/intake/redis-stream/fate.js";
import { compareIds } from "../../../src/intake/redis-stream/sample.js";

const subject = { eventId: "e", interactionId: "i", sequence: 0n };

/** Fates of a verdict with its usual retry rule: when nobody waits for it, and when the producer does. */
const fates: Readonly<Record<VerdictStatus, readonly [alone: Fate, awaited: Fate]>> = {
  stored: ["resolved", "resolved"],
  duplicate: ["resolved", "resolved"],
  not_collected: ["resolved", "resolved"],
  invalid: ["dead", "dead"],
  too_large: ["dead", "dead"],
  too_old: ["dead", "dead"],
  clock_skew: ["left", "returned"],
  conflict: ["dead", "dead"],
  permission_denied: ["dead", "dead"],
  fenced: ["dead", "dead"],
  overloaded: ["left", "returned"],
  unavailable: ["left", "returned"],
  not_found: ["dead", "dead"],
};

describe("the fate of an entry", () => {
  // Keys of a complete record.
  it.each(Object.keys(fates) as VerdictStatus[])("%s", (status) => {
    const verdict = { status, retryable: retryableByStatus[status] };
    expect([fateOf(verdict, false), fateOf(verdict, true)]).toEqual(fates[status]);
  });

  it("a key that is not good costs a producer that waits nothing, and goes to the dead letters otherwise", () => {
    expect(fateOf(keyRefused(subject, "KEY_UNKNOWN", "the key is not known", true), true)).toBe("returned");
    expect(fateOf(keyRefused(subject, "KEY_UNKNOWN", "the key is not known", false), false)).toBe("dead");
  });

  it("what was delivered too often is dead even if somebody waits", () => {
    expect(fateOf(tooOften(subject, 6), true)).toBe("dead");
  });

  it("a reason is one line of bounded length", () => {
    const violations = [{ field: "f", reason: "R", description: "x".repeat(10_000) }];
    expect(reasonOf(createVerdict(subject, "invalid", { violations }))).toMatch(/^f: R x+$/);
    expect(reasonOf({ violations })).toHaveLength(512);
    expect(reasonOf({ violations: [] })).toBe("");
  });
});

describe("ids of entries", () => {
  it("are ordered by both of their numbers", () => {
    expect(["10-0", "9-11", "9-2"].sort(compareIds)).toEqual(["9-2", "9-11", "10-0"]);
  });
});
