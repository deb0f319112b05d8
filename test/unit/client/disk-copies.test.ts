import fc from "fast-check";
import { expect, test } from "vitest";
import { DiskCopies } from "../../../src/client/disk-copies.js";
import { createMemorySpool } from "../../../src/client/memory-spool.js";
import type { Spool, SpoolKind } from "../../../src/client/spool/spool.js";
import { encodeEvent } from "../../../src/client/wire/frames.js";
import { createDeferred } from "../../support/deferred.js";
import { ManualClock, turn } from "../../support/manual-clock.js";

const clock = new ManualClock(1_000_000);
const encoded = encodeEvent({ eventId: "e", interactionId: "i" });

/** A disk that finds nothing before it is on it, and that is on it when the test says so. */
function slowDisk() {
  const held = createMemorySpool(clock);
  let pending: Parameters<Spool["put"]>[] = [];
  let lastPlace = 0;
  let flush = createDeferred<Error | undefined>();
  const disk: Spool = {
    ...held,
    put: (...given) => {
      pending.push(given);
      lastPlace += 1;
      return lastPlace;
    },
    flushed: () => (pending.length === 0 ? Promise.resolve() : flush.promise.then(rejectIf)),
    count: () => held.count() + pending.length,
  };
  const write = async (refusal?: Error): Promise<void> => {
    const written = pending;
    pending = [];
    const done = flush;
    flush = createDeferred<Error | undefined>();
    if (refusal === undefined) for (const given of written) held.put(...given);
    done.resolve(refusal);
    await turn();
  };
  return { disk, held, write };
}

function rejectIf(refusal: Error | undefined): void {
  if (refusal !== undefined) throw refusal;
}

const idsOf = (spool: Spool): readonly string[] => spool.readAfter(0, 1_000).map(({ eventId }) => eventId);
const put = (spool: Spool, id: string, kind: SpoolKind = "start") => spool.put(id, kind, encoded);

test("what waits in memory lies on the disk too, is given out once, and is forgotten on both", async () => {
  const copies = new DiskCopies(createMemorySpool(clock));
  const { disk, held, write } = slowDisk();
  for (const id of ["a", "b", "c"]) put(copies.memory, id);
  const shown = copies.attach(disk);
  const filled = copies.fill();
  put(shown, "d");
  copies.memory.forget([1]); // on its way to the disk
  await write();
  expect(await filled).toBe(3);
  expect([idsOf(copies.memory), idsOf(shown), idsOf(held)]).toEqual([["b", "c"], ["d"], ["b", "c", "d"]]);
  copies.memory.forget([2]);
  copies.memory.setAside(3, "INVALID");
  expect([idsOf(copies.memory), idsOf(held), copies.count, copies.bytes]).toEqual([[], ["d"], 0, 0]);
  expect(held.listSetAside(0, 10).map(({ eventId, reason }) => [eventId, reason])).toEqual([["c", "INVALID"]]);
});

test("a disk that refuses costs nothing: everything is still in memory, and given out from there alone", async () => {
  const copies = new DiskCopies(createMemorySpool(clock));
  const { disk, write } = slowDisk();
  for (const id of ["a", "b"]) put(copies.memory, id);
  const shown = copies.attach(disk);
  const refused = expect(copies.fill()).rejects.toThrow("no space");
  await write(new Error("no space"));
  await refused;
  expect([idsOf(copies.memory), idsOf(shown), copies.count]).toEqual([["a", "b"], [], 0]);
});

test("whatever is resolved when, no event is given out twice, and the disk ends with exactly what was not resolved", async () => {
  const ids = fc.array(fc.record({ before: fc.boolean(), early: fc.boolean(), late: fc.boolean() }), { minLength: 1, maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(ids, async (events) => {
      const copies = new DiskCopies(createMemorySpool(clock));
      const { disk, held, write } = slowDisk();
      for (const [i] of events.entries()) put(copies.memory, `e-${i}`, i % 3 === 0 ? "progress" : "start");
      const resolve = (when: "before" | "early" | "late"): void => {
        for (const [i, event] of events.entries()) if (event[when]) copies.memory.forget([i + 1]);
      };
      resolve("before");
      const shown = copies.attach(disk);
      const filled = copies.fill();
      resolve("early");
      await write();
      await write();
      await filled;
      resolve("late");
      const left = events.flatMap(({ before, early, late }, i) => (before || early || late ? [] : [`e-${i}`]));
      expect(idsOf(copies.memory)).toEqual(left);
      expect(idsOf(shown)).toEqual([]);
      expect(idsOf(held)).toEqual(left);
      expect(copies.count).toBe(left.length);
    }),
  );
});
