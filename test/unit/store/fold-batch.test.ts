import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { EventKind } from "../../../src/interaction/event.js";
import { mergeEvents } from "../../../src/interaction/merge.js";
import { foldBatch } from "../../../src/store/fold-batch.js";
import { freshId, newEvent } from "../../support/new-event.js";

const eventOf = fc.record({
  interactionId: fc.constantFrom("a", "b", "c"),
  kind: fc.constantFrom<EventKind>("start", "progress", "complete", "error"),
  occurredAtUs: fc.integer({ min: 1, max: 9 }),
});

describe("foldBatch", () => {
  it("says of each interaction what mergeEvents says of its events", () => {
    fc.assert(
      fc.property(fc.array(eventOf, { minLength: 1, maxLength: 20 }), (drafts) => {
        const events = drafts.map((draft, index) => newEvent({ ...draft, eventId: freshId(index) }));
        for (const share of foldBatch(events)) {
          const merged = mergeEvents(events.filter((event) => event.interactionId === share.any.interactionId));
          expect({
            eventCount: share.eventCount,
            startedAtUs: share.startedAtUs,
            endedAtUs: share.terminal?.occurredAtUs,
            lastEventAtUs: share.lastEventAtUs,
            conflictingTerminal: share.hasConflict,
            success: share.terminal?.facts.kind === "terminal" ? share.terminal.facts.success : undefined,
            missingStart: share.start === undefined,
          }).toEqual({
            eventCount: merged.eventCount,
            startedAtUs: merged.startedAtUs,
            endedAtUs: merged.endedAtUs,
            lastEventAtUs: merged.lastEventAtUs,
            conflictingTerminal: merged.conflictingTerminal,
            success: merged.success,
            missingStart: merged.missingStart,
          });
        }
      }),
    );
  });

  it("brings the interactions in one order for every batch", () => {
    const of = (names: readonly (readonly [string, string])[]) =>
      foldBatch(names.map(([mcpId, interactionId], ms) => newEvent({ mcpId, interactionId, eventId: freshId(ms) }))).map((share) => [
        share.any.mcpId,
        share.any.interactionId,
      ]);
    const sorted = [
      ["m", "a"],
      ["m", "b"],
      ["n", "a"],
    ];
    expect(
      of([
        ["n", "a"],
        ["m", "b"],
        ["m", "a"],
        ["m", "b"],
      ]),
    ).toEqual(sorted);
    expect(
      of([
        ["m", "b"],
        ["m", "a"],
        ["n", "a"],
      ]),
    ).toEqual(sorted);
  });
});
