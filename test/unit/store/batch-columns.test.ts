import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { columnsOf } from "../../../src/store/batch-columns.js";
import { freshId, newEvent } from "../../support/new-event.js";

const eventIds = 0;
const groups = 1;
const claims = 2;
const mcpIds = 3;
const claimEpochs = 21;
const claimSequences = 22;

/** Reads a one-dimensional array literal as Postgres does. Source: PostgreSQL manual, section 8.15.6. */
function elementsOf(literal: string | undefined): readonly (string | null)[] {
  const found = [...(literal ?? "").slice(1, -1).matchAll(/("(?:[^"\\]|\\.)*"|[^,]+)(?:,|$)/gs)];
  return found.map(([, text = ""]) =>
    text === "NULL" ? null : text.startsWith('"') ? text.slice(1, -1).replaceAll(/\\(.)/gs, "$1") : text,
  );
}

describe("columnsOf", () => {
  it("writes literals that read back as the values, whatever the text", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "binary", minLength: 1 }), { minLength: 1, maxLength: 20 }), (names) => {
        const { parameters, ordered } = columnsOf(names.map((mcpId) => newEvent({ mcpId })));
        expect(elementsOf(parameters[mcpIds])).toEqual(ordered.map((event) => event.mcpId));
      }),
    );
  });

  it("orders events by id, and leaves a batch that is in order as it is", () => {
    const events = [5, 3, 9, 1].map((ms) => newEvent({ eventId: freshId(ms) }));
    const { ordered, parameters } = columnsOf(events);
    expect(elementsOf(parameters[eventIds])).toEqual(events.map((event) => event.eventId).sort());
    expect(columnsOf(ordered).ordered).toBe(ordered);
  });

  it("numbers interactions in one order for every batch", () => {
    const of = (names: readonly string[]) => {
      const { ordered, parameters } = columnsOf(names.map((interactionId, ms) => newEvent({ interactionId, eventId: freshId(ms) })));
      return ordered.map((event, index) => [elementsOf(parameters[groups])[index], event.interactionId]);
    };
    expect(of(["b", "a", "b", "c"])).toEqual([
      ["1", "b"],
      ["0", "a"],
      ["1", "b"],
      ["2", "c"],
    ]);
  });

  it("claims each producer and epoch once, with its greatest sequence", () => {
    const event = (producerId: string, epoch: number, sequence: bigint, ms: number) =>
      newEvent({ producerId, epoch, sequence, eventId: freshId(ms) });
    const { parameters } = columnsOf([event("p", 1, 5n, 1), event("p", 2, 9n, 2), event("p", 1, 3n, 3), event("", 0, 0n, 4)]);
    expect(elementsOf(parameters[claims])).toEqual(["1", "2", "1", "3"]);
    expect(elementsOf(parameters[claimEpochs])).toEqual(["1", "2", "0"]);
    expect(elementsOf(parameters[claimSequences])).toEqual(["5", "9", "0"]);
  });
});
