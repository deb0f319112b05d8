import { describe, expect, test } from "vitest";
import { LedgerCheck, lookUpOf, pagesOf } from "../../../src/cli/ledger-check.js";
import type { Expectation, LedgerEvent } from "../../../src/cli/ledger-events.js";
import type { LookedUp, Tally } from "../../../src/client/verify.js";

const eventOf = (index: number, interactionId: string, more: Partial<LedgerEvent> = {}): LedgerEvent => ({
  mcpId: "ocr",
  interactionId,
  eventId: `e-${index}`,
  expectation: "stored",
  where: `ledger:${index}`,
  event: undefined,
  ...more,
});

/** Judges events of one MCP with the same answer to all, and tallies that agree unless given. */
function judgeAll(events: readonly LedgerEvent[], answerOf: (event: LedgerEvent) => LookedUp, tallies: Record<string, Tally> = {}) {
  const check = new LedgerCheck();
  for (const page of pagesOf(events)) {
    const question = lookUpOf(page);
    const told = new Map(
      question.interactionIds.map((id) => {
        const found = events.filter((event) => event.interactionId === id && ["equal", "other"].includes(answerOf(event))).length;
        return [id, tallies[id] ?? { storedEvents: found, mergedEvents: found }] as const;
      }),
    );
    check.judge(page, page.events.map(answerOf), told);
  }
  return check;
}

/** Every answer to every expectation, and where it counts. */
const verdicts = {
  stored: { equal: "ok", other: "differing", nothing: "lost", unjudged: "undecided" },
  refused: { equal: "unexpected", other: "unexpected", nothing: "refused", unjudged: "refused" },
  open: { equal: "indeterminateStored", other: "differing", nothing: "indeterminateAbsent", unjudged: "indeterminateAbsent" },
  unclear: { equal: "undecided", other: "undecided", nothing: "undecided", unjudged: "undecided" },
} as const satisfies Record<Expectation, Record<LookedUp, string>>;

describe("checking a ledger", () => {
  test.each(
    Object.entries(verdicts).flatMap(([expectation, row]) =>
      Object.entries(row).map(([answer, kind]) => [expectation, answer, kind] as const),
    ),
  )("an event that is %s in the ledger and %s in the store counts as %s", (expectation, answer, kind) => {
    const check = judgeAll([eventOf(1, "i", { expectation: expectation as Expectation })], () => answer as LookedUp);
    const { interactions, ...counts } = check.counts;
    expect(interactions).toBe(1);
    expect(Object.entries(counts).filter(([, count]) => count > 0)).toEqual([[kind, 1]]);
  });

  test("an interaction over several pages is tallied once, against all its events", () => {
    const events = Array.from({ length: 1_203 }, (_, index) => eventOf(index, index < 2 ? "a" : index < 1_201 ? "b" : "c"));
    const pages = [...pagesOf(events)];
    expect(pages.map((page) => page.events.length)).toEqual([500, 500, 203]);
    expect(pages.map((page) => lookUpOf(page).interactionIds)).toEqual([["a"], [], ["b", "c"]]);
    expect(judgeAll(events, () => "equal").counts).toMatchObject({ ok: 1_203, interactions: 3, unexpected: 0 });
    const tallies = { b: { storedEvents: 1_201, mergedEvents: 1_204 } };
    expect(judgeAll(events, () => "equal", tallies).counts).toMatchObject({ ok: 1_203, unexpected: 2, duplicated: 3, differing: 0 });
  });

  test("pages end between MCPs, and at two megabytes", () => {
    const large = "A".repeat(900_000);
    const events = [
      ...[1, 2, 3].map((index) => eventOf(index, "i", { event: large })),
      eventOf(4, "i", { mcpId: "search" }),
      eventOf(5, "i", { mcpId: "search" }),
    ];
    const pages = [...pagesOf(events)];
    expect(pages.map((page) => page.events.map(({ eventId }) => eventId))).toEqual([["e-1", "e-2"], ["e-3"], ["e-4", "e-5"]]);
    expect(pages.map((page) => page.sections.map(({ isLast }) => isLast))).toEqual([[false], [true], [true]]);
  });

  test("a merged interaction that counts too few is differing; one that was deleted by retention is nothing", () => {
    const events = [eventOf(1, "a"), eventOf(2, "a"), eventOf(3, "b")];
    const tallies = { a: { storedEvents: 2, mergedEvents: 1 }, b: { storedEvents: 1, mergedEvents: 0 } };
    const check = judgeAll(events, () => "equal", tallies);
    expect(check.counts).toMatchObject({ ok: 3, differing: 1, duplicated: 0, unexpected: 0 });
    expect(check.findings).toMatchObject([
      { kind: "differing", interactionId: "a", eventId: "", message: "counts 1 events, and 2 are stored" },
    ]);
  });

  test("without tallies it says so", () => {
    const check = new LedgerCheck();
    for (const page of pagesOf([eventOf(1, "a")])) check.judge(page, ["equal"], undefined);
    expect(check.hasTallies).toBe(false);
    expect(check.counts).toMatchObject({ ok: 1, interactions: 1, unexpected: 0 });
  });

  test("names the first twenty findings and counts the rest", () => {
    const check = judgeAll(
      Array.from({ length: 50 }, (_, index) => eventOf(index, "i")),
      () => "nothing",
    );
    expect(check.counts.lost).toBe(50);
    expect(check.findings).toHaveLength(20);
    expect(check.findings[0]).toMatchObject({ kind: "lost", eventId: "e-0", where: "ledger:0" });
  });
});
