import fc from "fast-check";
import { expect, test } from "vitest";
import { DeferredSequences } from "../../../src/hub/deferred-sequences.js";
import { limits } from "../../../src/platform/limits.js";

test("the resume point stays before the first sequence that waits, whatever is deferred and decided", () => {
  const step = fc.record({ sequence: fc.bigInt({ min: 0n, max: 30n }), isDeferred: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const deferred = new DeferredSequences();
      const waiting = new Set<bigint>();
      for (const { sequence, isDeferred } of steps) {
        if (!isDeferred) waiting.delete(sequence);
        else if (sequence > 0n) waiting.add(sequence);
        if (isDeferred) deferred.defer(sequence);
        else deferred.decide(sequence);
        const first = [...waiting].sort((a, b) => Number(a - b))[0];
        expect(deferred.resumeMax).toBe(first === undefined ? undefined : first - 1n);
      }
    }),
  );
});

test("above its bound it forgets which ones wait, and lets nothing pass the first any more", () => {
  const deferred = new DeferredSequences();
  for (let sequence = 1n; sequence <= BigInt(limits.deferredSequencesMax) + 1n; sequence += 1n) deferred.defer(sequence + 9n);
  for (let sequence = 1n; sequence <= BigInt(limits.deferredSequencesMax) + 1n; sequence += 1n) deferred.decide(sequence + 9n);
  expect(deferred.resumeMax).toBe(9n);
});
