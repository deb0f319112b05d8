import fc from "fast-check";
import { expect, test } from "vitest";
import { Outbox, type OutboxEntry } from "../../../src/client/outbox.js";

const frame = { maxEvents: 4, maxBytes: 1_000 };
const wide = { maxEvents: 1_000, maxBytes: 1_000_000 };
const bytes = (length: number) => new Uint8Array(length);

function filled(count: number, size = 10): Outbox {
  const outbox = new Outbox({ maxEvents: 1_000, maxBytes: 1_000_000 });
  for (let index = 0; index < count; index++) outbox.add(`e${index + 1}`, bytes(size));
  return outbox;
}
const sequences = (entries: readonly OutboxEntry[]) => entries.map((entry) => entry.sequence);

test("events leave in the order they came, at most a frame at a time", () => {
  const outbox = filled(6);
  expect(sequences(outbox.take(wide, frame, 0))).toEqual([1, 2, 3, 4]);
  expect(sequences(outbox.take(wide, frame, 0))).toEqual([5, 6]);
  expect(outbox.take(wide, frame, 0)).toEqual([]);
});

test("a frame is cut at its bytes, and an event larger than a frame goes alone", () => {
  const outbox = filled(3, 600);
  expect(sequences(outbox.take(wide, { maxEvents: 4, maxBytes: 1_300 }, 0))).toEqual([1, 2]);
  expect(sequences(filled(2, 600).take(wide, { maxEvents: 4, maxBytes: 100 }, 0))).toEqual([1]);
});

test("the window of bytes holds back what does not fit, but never the only event", () => {
  const outbox = filled(3, 600);
  expect(sequences(outbox.take({ maxEvents: 10, maxBytes: 1_000 }, frame, 0))).toEqual([1]);
  expect(outbox.take({ maxEvents: 10, maxBytes: 1_000 }, frame, 0)).toEqual([]);
  expect(sequences(filled(1, 600).take({ maxEvents: 10, maxBytes: 100 }, frame, 0))).toEqual([1]);
});

test.each([
  { maxEvents: 0, maxBytes: 1_000 },
  { maxEvents: 10, maxBytes: 0 },
])("a window of $maxEvents events and $maxBytes bytes pauses", (window) => {
  expect(filled(1).take(window, frame, 0)).toEqual([]);
});

test("while acks are on their way, a partly open window waits for a full frame", () => {
  const outbox = filled(10);
  outbox.take({ maxEvents: 6, maxBytes: 1_000 }, frame, 0);
  expect(outbox.take({ maxEvents: 6, maxBytes: 1_000 }, frame, 0)).toEqual([]);
  for (const entry of outbox.flyingBetween(1, 2)) outbox.forget(entry);
  expect(sequences(outbox.take({ maxEvents: 6, maxBytes: 1_000 }, frame, 0))).toEqual([5, 6, 7, 8]);
});

test.each([2 ** 53, 2 ** 63, 2 ** 52 + 1])(
  "a resume point of %d resolves nothing, and every event keeps a sequence of its own",
  (point) => {
    const outbox = filled(2);
    outbox.take(wide, frame, 0);
    expect(outbox.resume(point)).toEqual([]);
    outbox.add("e3", bytes(10));
    outbox.add("e4", bytes(10));
    expect(outbox.heldEvents).toBe(4);
    expect(sequences(outbox.take(wide, frame, 0))).toEqual([1, 2, 3, 4]);
  },
);

test("what the resume point covers is resolved; what was refused for now, or never sent, is not", () => {
  const outbox = filled(4);
  const [first, second] = outbox.take(wide, { maxEvents: 3, maxBytes: 1_000 }, 0);
  if (first === undefined || second === undefined) throw new Error("three events were to be taken");
  outbox.rest(second, 50);
  expect(sequences(outbox.resume(100))).toEqual([1, 3]);
  expect(sequences(outbox.take(wide, frame, 0))).toEqual([4]);
  outbox.wake(50);
  expect(sequences(outbox.take(wide, frame, 0))).toEqual([2]);
});

test("a producer with a longer history than ours is numbered on from there", () => {
  const outbox = filled(1);
  outbox.resume(41);
  expect(outbox.add("next", bytes(1)).sequence).toBe(42);
  expect(outbox.firstHeldSequence).toBe(1);
});

test("a range far beyond what is held costs no more than what is held", () => {
  const outbox = filled(3);
  outbox.take(wide, frame, 0);
  expect(sequences(outbox.flyingBetween(0, Number.MAX_SAFE_INTEGER))).toEqual([1, 2, 3]);
});

test("an outbox takes nothing beyond its bounds, except one event of any size", () => {
  const byCount = new Outbox({ maxEvents: 1, maxBytes: 100 });
  byCount.add("a", bytes(1));
  expect(byCount.hasRoom).toBe(false);
  const byBytes = new Outbox({ maxEvents: 10, maxBytes: 5 });
  expect(byBytes.hasRoom).toBe(true);
  byBytes.add("a", bytes(50));
  expect(byBytes.hasRoom).toBe(false);
});

test("under any mix of sending, verdicts, delays and reconnects, every event is held until its final verdict and the sums are right", () => {
  const action = fc.oneof(
    fc.record({ kind: fc.constant("add" as const), size: fc.integer({ min: 1, max: 40 }) }),
    fc.record({ kind: fc.constant("take" as const), window: fc.integer({ min: 0, max: 8 }), frame: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ kind: fc.constant("forget" as const), pick: fc.nat(20) }),
    fc.record({ kind: fc.constant("rest" as const), pick: fc.nat(20), due: fc.nat(100) }),
    fc.record({ kind: fc.constant("wake" as const), now: fc.nat(100) }),
    fc.record({ kind: fc.constant("resume" as const), after: fc.nat(30) }),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 120 }), (actions) => {
      const outbox = new Outbox({ maxEvents: 50, maxBytes: 10_000 });
      const held = new Map<number, { size: number }>();
      for (const act of actions) {
        const flying = outbox.flyingBetween(0, Number.MAX_SAFE_INTEGER);
        if (act.kind === "add" && outbox.hasRoom) held.set(outbox.add("e", bytes(act.size)).sequence, { size: act.size });
        if (act.kind === "take") outbox.take({ maxEvents: act.window, maxBytes: 200 }, { maxEvents: act.frame, maxBytes: 100 }, 0);
        if (act.kind === "wake") outbox.wake(act.now);
        if (act.kind === "resume") for (const entry of outbox.resume(act.after)) held.delete(entry.sequence);
        const entry = act.kind === "forget" || act.kind === "rest" ? flying[act.pick % Math.max(1, flying.length)] : undefined;
        if (entry !== undefined && act.kind === "rest") outbox.rest(entry, act.due);
        if (entry !== undefined && act.kind === "forget") {
          outbox.forget(entry);
          held.delete(entry.sequence);
        }
        expect(outbox.heldEvents).toBe(held.size);
        expect(outbox.heldBytes).toBe([...held.values()].reduce((sum, one) => sum + one.size, 0));
        expect(outbox.flyingEvents).toBe(outbox.flyingBetween(0, Number.MAX_SAFE_INTEGER).length);
      }
      // Whatever is left can still be sent and resolved.
      outbox.wake(1_000);
      outbox.resume(0);
      for (let taken = outbox.take(wide, frame, 0); taken.length > 0; taken = outbox.take(wide, frame, 0))
        for (const entry of taken) held.delete(entry.sequence);
      expect([...held.keys()]).toEqual([]);
    }),
  );
});

test("what was sent is sent again after doubt, whatever the resume point covers; what was never sent is not doubted", () => {
  const outbox = filled(3);
  outbox.take({ maxEvents: 2, maxBytes: 1_000 }, frame, 0);
  outbox.doubt();
  expect(sequences(outbox.resume(9))).toEqual([]);
  expect(sequences(outbox.take(wide, frame, 1))).toEqual([1, 2, 3]);
  expect(outbox.nextSequence).toBe(10);
});
