import fc from "fast-check";
import { expect, test } from "vitest";
import { Lanes } from "../../../src/client/lanes.js";
import type { SpooledEvent } from "../../../src/client/spool/spool.js";
import { limits } from "../../../src/platform/limits.js";

/** A spool of places 1 to `newest`. */
function spoolOf(newest: () => number) {
  return {
    readAfter: (place: number, maxCount: number): readonly SpooledEvent[] =>
      Array.from({ length: Math.max(0, Math.min(maxCount, newest() - place)) }, (_, index) => {
        const at = place + 1 + index;
        return { place: at, eventId: String(at), event: {} };
      }),
  };
}

const placesOf = (events: readonly SpooledEvent[]): readonly number[] => events.map(({ place }) => place);

test("without a backlog events come in the order in which they were reported", () => {
  const lanes = new Lanes(spoolOf(() => 10));
  expect(placesOf(lanes.read(4, 10))).toEqual([1, 2, 3, 4]);
  expect(placesOf(lanes.read(100, 10))).toEqual([5, 6, 7, 8, 9, 10]);
  expect(lanes.read(100, 10)).toEqual([]);
});

test("what is reported during a replay comes within two reads, and the backlog keeps its own order beside it", () => {
  let newest = 100_000;
  const lanes = new Lanes(spoolOf(() => newest));
  const seen: number[] = [...placesOf(lanes.read(500, newest))];
  expect(lanes.backlogCount).toBe(1);
  newest += 3;
  const next = placesOf(lanes.read(500, newest));
  expect(next.slice(0, 3)).toEqual([100_001, 100_002, 100_003]);
  seen.push(...next.slice(3));
  expect(seen).toEqual(Array.from({ length: seen.length }, (_, index) => index + 1));
});

test("whatever is put and read, each event comes once, and none is left out", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ puts: fc.integer({ min: 0, max: 9_000 }), reads: fc.integer({ min: 1, max: 600 }) }), { maxLength: 30 }),
      (steps) => {
        let newest = 0;
        const lanes = new Lanes(spoolOf(() => newest));
        const seen = new Set<number>();
        let count = 0;
        const note = (events: readonly SpooledEvent[]): number => {
          for (const { place } of events) seen.add(place);
          count += events.length;
          return events.length;
        };
        for (const { puts, reads } of steps) {
          newest += puts;
          const events = lanes.read(reads, newest);
          expect(events.length).toBeLessThanOrEqual(reads);
          expect(lanes.backlogCount).toBeLessThan(limits.replayLanesMax);
          note(events);
        }
        while (note(lanes.read(500, newest)) > 0);
        expect(count).toBe(newest);
        expect(seen.size).toBe(newest);
      },
    ),
    { numRuns: 50 },
  );
});
