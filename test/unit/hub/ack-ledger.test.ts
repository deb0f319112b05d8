import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AckFrame, AckLedger } from "../../../src/hub/ack-ledger.js";
import { createVerdict } from "../../../src/ingest/verdict.js";
import type { NewEvent, Outcome } from "../../../src/interaction/event.js";
import { limits } from "../../../src/platform/limits.js";
import { eventOf } from "../../support/event.js";

const outcomes: Record<string, Outcome> = {
  stored: { kind: "stored", storedAtMs: 1 },
  duplicate: { kind: "duplicate", storedAtMs: 1 },
  conflict: { kind: "conflict", storedDigest: "", storedAtMs: 1 },
};

const template = eventOf();
const eventAt = (sequence: bigint, n: number): NewEvent => ({ ...template, sequence, eventId: `id-${n}` });

type Op =
  | { readonly kind: "accept"; readonly gap: number }
  | { readonly kind: "refuse"; readonly gap: number }
  | { readonly kind: "resend" }
  | { readonly kind: "unsequenced" }
  | { readonly kind: "settle"; readonly outcome: string }
  | { readonly kind: "take" };

const op: fc.Arbitrary<Op> = fc.oneof(
  fc.record({ kind: fc.constant("accept" as const), gap: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ kind: fc.constant("refuse" as const), gap: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ kind: fc.constant("resend" as const) }),
  fc.record({ kind: fc.constant("unsequenced" as const) }),
  fc.record({ kind: fc.constant("settle" as const), outcome: fc.constantFrom("stored", "stored", "duplicate", "conflict") }),
  fc.record({ kind: fc.constant("take" as const) }),
);

describe("AckLedger", () => {
  it("takes no place from a number that is no sequence: what comes after it is resolved once it is settled", () => {
    const ledger = new AckLedger("coalesced");
    ledger.refused(createVerdict({ eventId: "x", sequence: 2n ** 63n, interactionId: "" }, "invalid"));
    ledger.accepted(5n);
    expect(ledger.takeFrame()).toMatchObject({ resolvedThrough: 0n, exceptions: [{ eventId: "x" }] });
    ledger.settled(eventAt(5n, 1), { kind: "stored", storedAtMs: 1 });
    expect(ledger.takeFrame()).toEqual({ resolvedThrough: 5n, ranges: [{ first: 5n, last: 5n, status: "stored" }], exceptions: [] });
  });

  it("acknowledges every event exactly once with its own status, and resolves no sequence too early", () => {
    fc.assert(
      fc.property(fc.array(op, { maxLength: 80 }), (script) => {
        const ledger = new AckLedger("coalesced");
        const pending: { event: NewEvent; ordered: boolean }[] = [];
        /** Ordered sequences received so far, and what became of them. */
        const truth = new Map<bigint, string | undefined>();
        const byId = new Map<string, string>();
        const said = new Map<bigint, string>();
        const saidById = new Map<string, string>();
        let through = 0n;
        let highest = 0n;
        let n = 0;

        const read = (frame: AckFrame | undefined) => {
          if (frame === undefined) return;
          expect(frame.resolvedThrough >= through).toBe(true);
          through = frame.resolvedThrough;
          for (const range of frame.ranges) {
            for (const sequence of [...truth.keys()].filter((s) => s >= range.first && s <= range.last)) {
              expect(said.has(sequence)).toBe(false);
              said.set(sequence, range.status);
            }
          }
          for (const verdict of frame.exceptions) {
            expect(saidById.has(verdict.eventId)).toBe(false);
            saidById.set(verdict.eventId, verdict.status);
          }
          for (const [sequence, status] of truth) if (sequence <= through) expect(status).toBeDefined();
        };

        const send = (sequence: bigint) => {
          n += 1;
          const event = eventAt(sequence, n);
          const ordered = sequence > highest;
          if (ordered) {
            highest = sequence;
            truth.set(sequence, undefined);
          }
          pending.push({ event, ordered });
          ledger.accepted(sequence);
        };

        for (const step of script) {
          if (step.kind === "accept") send(highest + BigInt(step.gap));
          if (step.kind === "resend" && highest > 0n) send(highest);
          if (step.kind === "unsequenced") send(0n);
          if (step.kind === "refuse") {
            n += 1;
            highest += BigInt(step.gap);
            truth.set(highest, "invalid");
            byId.set(`id-${n}`, "invalid");
            ledger.refused(createVerdict({ eventId: `id-${n}`, sequence: highest, interactionId: "i" }, "invalid"));
          }
          if (step.kind === "settle") {
            const next = pending.shift();
            if (next === undefined) continue;
            if (next.ordered) truth.set(next.event.sequence, step.outcome);
            if (!next.ordered || step.outcome === "conflict") byId.set(next.event.eventId, step.outcome);
            ledger.settled(next.event, outcomes[step.outcome] ?? { kind: "fenced" });
          }
          if (step.kind === "take") read(ledger.takeFrame());
          expect(ledger.announcedThrough).toBe(through);
        }
        for (const { event, ordered } of pending) {
          if (ordered) truth.set(event.sequence, "stored");
          else byId.set(event.eventId, "stored");
          ledger.settled(event, { kind: "stored", storedAtMs: 1 });
        }
        read(ledger.takeFrame());
        expect(ledger.isEmpty).toBe(true);
        expect(through).toBe(highest);
        expect(saidById).toEqual(byId);
        const inRanges = [...truth].filter(([, status]) => status === "stored" || status === "duplicate");
        expect([...said].sort()).toEqual(inRanges.sort());
      }),
      { numRuns: 500 },
    );
  });

  it("says one run for a thousand stored events", () => {
    const ledger = new AckLedger("coalesced");
    for (let i = 1; i <= 1000; i += 1) ledger.accepted(BigInt(i));
    for (let i = 1; i <= 1000; i += 1) ledger.settled(eventAt(BigInt(i), i), { kind: "stored", storedAtMs: 1 });
    expect(ledger.takeFrame()).toEqual({ resolvedThrough: 1000n, ranges: [{ first: 1n, last: 1000n, status: "stored" }], exceptions: [] });
    expect(ledger.takeFrame()).toBeUndefined();
  });

  it("announces nothing as resolved whose verdict waits for the next frame", () => {
    const ledger = new AckLedger("coalesced");
    const count = limits.exceptionsPerFrameMax + 100;
    for (let i = 1; i <= count; i += 1) ledger.accepted(BigInt(i));
    for (let i = 1; i <= count; i += 1) ledger.settled(eventAt(BigInt(i), i), { kind: "fenced" });
    const first = ledger.takeFrame();
    expect([first?.resolvedThrough, first?.exceptions.length]).toEqual([
      BigInt(limits.exceptionsPerFrameMax),
      limits.exceptionsPerFrameMax,
    ]);
    const second = ledger.takeFrame();
    expect([second?.resolvedThrough, second?.exceptions.length]).toEqual([BigInt(count), 100]);
    expect(ledger.takeFrame()).toBeUndefined();
  });

  it("gives each event its own verdict, in order, to those who want one each", () => {
    const ledger = new AckLedger("each");
    for (let i = 1; i <= 3; i += 1) ledger.accepted(BigInt(i));
    for (let i = 1; i <= 3; i += 1) ledger.settled(eventAt(BigInt(i), i), { kind: "stored", storedAtMs: 1 });
    expect(ledger.announcedThrough).toBe(0n);
    expect(ledger.takeEach(2).map((verdict) => verdict.sequence)).toEqual([1n, 2n]);
    expect(ledger.announcedThrough).toBe(2n);
    expect(ledger.takeEach(2).map((verdict) => verdict.sequence)).toEqual([3n]);
    expect(ledger.takeEach(2)).toEqual([]);
  });
});
