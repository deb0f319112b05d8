import { describe, expect, it } from "vitest";
import { EventStatus } from "../../../gen/mcp/coordinator/v1/events_pb.js";
import { mergeEvents } from "../../../src/interaction/merge.js";
import { seededRng } from "../../../src/platform/rng.js";
import { addAudits, audit, emptyAudit, expectedOf, type StoredInteraction, type StoredRow } from "../../faults/audit.js";
import { EventLedger, type LedgerEntry } from "../../faults/ledger.js";
import { type PlannedEvent, planInteraction } from "../../faults/plan.js";
import { noonMs } from "../../support/draft.js";

const mcpId = "ocr-0";
const producerId = "ocr-0-producer";
const orderly = { shuffled: 0, repeated: 0, rivalled: 0, invalid: 0, twoEnds: 0, headless: 0 };
const ackedAtMs = noonMs + 100;

type World = { readonly page: LedgerEntry[]; readonly rows: StoredRow[]; readonly interactions: StoredInteraction[] };

/** Ten interactions, all acknowledged, and a store that holds exactly them. */
function healthyWorld(): World {
  const rng = seededRng(7);
  const ledger = new EventLedger();
  const names = Array.from({ length: 10 }, (_, index) => `r-${index}`);
  for (const name of names) {
    for (const { planned } of planInteraction(rng, name, noonMs, orderly)) {
      ledger.note(planned, mcpId, producerId);
      ledger.settle({ eventId: planned.eventId, verdict: "stored", learnt: "ack", latencyMs: 1, ack: undefined }, ackedAtMs);
    }
  }
  const page = [...ledger.turnPage()];
  const rows = page.map((entry): StoredRow => {
    const { digest, occurredAtUs } = expectedOf(entry);
    const interactionId = entry.planned.init.interactionId ?? "";
    return { eventId: entry.planned.eventId, mcpId, interactionId, producerId, digest, occurredAtUs, committedAtMs: noonMs };
  });
  const interactions = names.map((interactionId): StoredInteraction => {
    const merged = mergeEvents(
      page.filter((entry) => entry.planned.init.interactionId === interactionId).map((entry) => expectedOf(entry).merge),
    );
    return { mcpId, interactionId, ...merged };
  });
  return { page, rows, interactions };
}

const judge = ({ page, rows, interactions }: World) => audit(page, rows, interactions);
const at = <T>(items: readonly T[], index: number): T => {
  const item = items[index];
  if (item === undefined) throw new Error(`nothing at ${index}`);
  return item;
};
const replaced = <T>(items: readonly T[], index: number, more: Partial<T>): T[] =>
  items.map((item, place) => (place === index ? { ...item, ...more } : item));

describe("the auditor", () => {
  const world = healthyWorld();

  it("finds nothing where nothing is wrong, and says how much it compared", () => {
    const found = judge(world);
    expect(found.violations).toEqual([]);
    expect(found.counts).toEqual({ ok: world.page.length, lost: 0, unexpected: 0, duplicated: 0, indeterminate: 0 });
    expect(found.checked).toMatchObject({ I1: world.page.length, I2: world.rows.length, I3: world.page.length, I4: 10 });
  });

  it("finds an acknowledged event that is not stored", () => {
    const found = judge({ ...world, rows: world.rows.slice(1) });
    expect(found.counts).toMatchObject({ lost: 1 });
    expect(found.violations).toContainEqual({
      invariant: "I1",
      what: `${at(world.rows, 0).eventId} was acknowledged and is not stored`,
    });
  });

  it("finds a lost event that only the resume point had covered", () => {
    const page = replaced(world.page, 0, { ackedAtMs: undefined, isResumed: true });
    expect(judge({ ...world, page, rows: world.rows.slice(1) }).violations[0]?.what).toContain("by the resume point");
  });

  it("finds an event that is stored twice", () => {
    const found = judge({ ...world, rows: [...world.rows, { ...at(world.rows, 3), mcpId: "other" }] });
    expect(found.counts.duplicated).toBe(1);
    expect(found.violations).toContainEqual({ invariant: "I1", what: `${at(world.rows, 3).eventId} is stored 2 times` });
  });

  it("finds an event that was counted twice in its interaction", () => {
    const eventCount = at(world.interactions, 2).eventCount + 1;
    const found = judge({ ...world, interactions: replaced(world.interactions, 2, { eventCount }) });
    expect(found.counts.duplicated).toBe(1);
    expect(found.violations).toEqual([expect.objectContaining({ invariant: "I4" })]);
  });

  it.each([
    ["state", "running"],
    ["endedAtUs", 5],
    ["errorCode", "E-other"],
    ["missingStart", true],
    ["conflictingTerminal", true],
    ["durationMs", 123_456],
  ] as const)("finds a merged row whose %s is wrong", (name, value) => {
    const found = judge({ ...world, interactions: replaced(world.interactions, 0, { [name]: value }) });
    expect(found.violations).toEqual([expect.objectContaining({ invariant: "I4", what: expect.stringContaining(`${name} is ${value}`) })]);
  });

  it("finds an interaction without its merged row", () => {
    expect(judge({ ...world, interactions: world.interactions.slice(1) }).violations).toEqual([
      expect.objectContaining({ invariant: "I4" }),
    ]);
  });

  it("finds a row that nobody sent", () => {
    const stranger = { ...at(world.rows, 0), eventId: "01900000-0000-7000-8000-000000000000" };
    const found = judge({ ...world, rows: [...world.rows, stranger] });
    expect(found.counts.unexpected).toBe(1);
    expect(found.violations).toEqual([expect.objectContaining({ invariant: "I2" })]);
  });

  it.each([
    ["another content", { digest: "00".repeat(16) }],
    ["another producer", { producerId: "someone" }],
    ["another interaction", { interactionId: "r-other" }],
    ["another time", { occurredAtUs: 1 }],
  ])("finds a row with %s than was sent", (_, more) => {
    const found = judge({ ...world, rows: replaced(world.rows, 5, more) });
    expect(found.counts.unexpected).toBe(1);
    expect(found.violations[0]?.invariant).toBe("I1");
  });

  it("finds an invalid event that was stored all the same", () => {
    const planned: PlannedEvent = { ...at(world.page, 0).planned, intent: "invalid" };
    const page = replaced(world.page, 0, { planned, ackedAtMs: undefined, refusals: [EventStatus.INVALID] });
    expect(judge({ ...world, page }).violations[0]).toMatchObject({ invariant: "I2" });
  });

  it("finds an ack that left before its commit", () => {
    const found = judge({ ...world, rows: replaced(world.rows, 4, { committedAtMs: ackedAtMs + 50 }) });
    expect(found.violations).toEqual([expect.objectContaining({ invariant: "I3" })]);
  });

  it("finds an event that was refused for two different reasons", () => {
    const planned: PlannedEvent = { ...at(world.page, 0).planned, eventId: "01900000-0000-7000-8000-000000000001", intent: "invalid" };
    const refused = { ...at(world.page, 0), planned, ackedAtMs: undefined, refusals: [EventStatus.INVALID, EventStatus.TOO_LARGE] };
    expect(judge({ ...world, page: [...world.page, refused] }).violations).toEqual([expect.objectContaining({ invariant: "I10" })]);
  });

  it("calls an event without any verdict indeterminate, stored or not, and blames nobody", () => {
    const page = replaced(world.page, 1, { ackedAtMs: undefined });
    expect(judge({ ...world, page })).toMatchObject({ counts: { indeterminate: 1 }, violations: [] });
    const absent: PlannedEvent = { ...at(world.page, 0).planned, eventId: "01900000-0000-7000-8000-000000000002" };
    const unsent = { ...at(world.page, 0), planned: absent, ackedAtMs: undefined };
    expect(judge({ ...world, page: [...world.page, unsent] })).toMatchObject({ counts: { indeterminate: 1 }, violations: [] });
  });

  it("adds up over rounds", () => {
    const lost = judge({ ...world, rows: world.rows.slice(2) });
    const sum = addAudits(addAudits(emptyAudit, lost), lost);
    expect(sum.counts.lost).toBe(4);
    expect(sum.checked.I1).toBe(world.page.length * 2);
    expect(sum.violations.length).toBe(lost.violations.length * 2);
  });
});

describe("the plan of a load", () => {
  it("is the same for the same seed", () => {
    const plan = (seed: number) =>
      JSON.stringify(planInteraction(seededRng(seed), "i", noonMs), (_, value) => (typeof value === "bigint" ? String(value) : value));
    expect(plan(11)).toBe(plan(11));
    expect(plan(11)).not.toBe(plan(12));
  });
});
