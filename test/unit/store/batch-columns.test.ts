import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  arrays,
  type Column,
  claimColumns,
  claimsOf,
  eventColumns,
  jsonSeparator,
  scalars,
  shareColumns,
} from "../../../src/store/batch-columns.js";
import { foldBatch } from "../../../src/store/fold-batch.js";
import { freshId, newEvent } from "../../support/new-event.js";

/** Reads a one-dimensional array literal as Postgres does. Source: PostgreSQL manual, section 8.15.6. */
function elementsOf(literal: string | undefined): readonly (string | null)[] {
  const found = [...(literal ?? "").slice(1, -1).matchAll(/("(?:[^"\\]|\\.)*"|[^,]+)(?:,|$)/gs)];
  return found.map(([, text = ""]) =>
    text.toUpperCase() === "NULL" ? null : text.startsWith('"') ? text.slice(1, -1).replaceAll(/\\(.)/gs, "$1") : text,
  );
}

/** Columns by name. */
function named<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): Readonly<Record<string, string | undefined>> {
  const literals = arrays(columns, rows);
  return Object.fromEntries(columns.map(({ name }, index) => [name, literals[index]]));
}

describe("the columns of a batch", () => {
  it("are literals that read back as the values, whatever the text", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "binary" }), { minLength: 1, maxLength: 20 }), fc.json(), (names, body) => {
        const events = names.map((producerId) => newEvent({ producerId, body }));
        const columns = named(eventColumns, events);
        expect(elementsOf(columns.producer_id)).toEqual(names);
        expect(columns.body?.split(jsonSeparator)).toEqual(names.map(() => body));
      }),
    );
  });

  it("say numbers and truths without quotes, and texts with line breaks as Postgres writes them", () => {
    const start = newEvent({ kind: "start", sequence: 2n ** 63n - 1n, occurredAtUs: 1_790_000_000_123_456, interactionId: "a\nb\\" });
    const terminal = newEvent({ kind: "complete", interactionId: "other" });
    const columns = named(eventColumns, [start]);
    expect([columns.sequence, columns.occurred, columns.kind]).toEqual(["{9223372036854775807}", "{1790000000123456}", "{1}"]);
    expect(columns.interaction_id).toBe('{"a\nb\\\\"}');
    expect(named(shareColumns, foldBatch([start, terminal])).success).toBe("{null,true}");
  });

  it("are empty when they have nothing to say, and else say NULL where they do not", () => {
    const bare = [newEvent(), newEvent({ kind: "complete", interactionId: "other" })];
    const shares = named(shareColumns, foldBatch(bare));
    expect(named(eventColumns, bare).raw).toBe("{}");
    expect(shares.request_type).toBe("{}");
    expect(shares.error_code).toBe('{null,""}');
    expect(named(eventColumns, [newEvent({ raw: Uint8Array.from([1, 255]) }), newEvent()]).raw).toBe('{"\\\\x01ff",NULL}');
  });

  it("say of one row what they say of many", () => {
    const event = newEvent({ raw: Uint8Array.from([7]), body: '{"a":"\\""}', producerId: 'p"' });
    const columns = named(eventColumns, [event]);
    const values = eventColumns.map(({ name, type }) => (type === "jsonb" ? columns[name] : elementsOf(columns[name])[0]));
    expect(scalars(eventColumns, event)).toEqual(values.map((value) => value ?? null));
  });

  it("claim each producer and epoch once, with its greatest sequence, by producer; what is not fenced claims nothing", () => {
    const event = (producerId: string, epoch: number, sequence: bigint, ms: number) =>
      newEvent({ producerId, epoch, sequence, eventId: freshId(ms) });
    const events = [event("q", 1, 4n, 0), event("p", 1, 5n, 1), event("q", 1, 9n, 2), event("p", 1, 3n, 3), event("", 0, 0n, 4)];
    const columns = named(claimColumns, claimsOf(events));
    expect(columns).toEqual({ producer_id: '{"p","q"}', epoch: "{1,1}", last_sequence: "{5,9}" });
  });
});
