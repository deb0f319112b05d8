import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { limits } from "../../../src/platform/limits.js";
import { Turns } from "../../../src/store/turns.js";
import { createDeferred } from "../../support/deferred.js";
import { ManualClock, turn } from "../../support/manual-clock.js";

const setUp = (max = 1) => {
  const clock = new ManualClock(0);
  const begun: string[] = [];
  const turns = new Turns(max, clock);
  /** Work that lasts until its name is ended. */
  const ends = new Map<string, () => void>();
  const take = (name: string, options?: Parameters<Turns["take"]>[1]): Promise<string> => {
    const work = createDeferred<void>();
    ends.set(name, () => work.resolve());
    return turns.take(async () => {
      begun.push(name);
      await work.promise;
      return name;
    }, options);
  };
  const end = async (name: string): Promise<void> => {
    ends.get(name)?.();
    await turn();
  };
  return { clock, turns, begun, take, end };
};

describe("turns", () => {
  it("go round in the order they were asked for, the urgent first", async () => {
    const { begun, take, end, clock } = setUp();
    const all = [take("a"), take("b"), take("c"), take("commit", { isUrgent: true }), take("d")];
    for (const name of ["a", "commit", "b", "c", "d"]) await end(name);
    expect(begun).toEqual(["a", "commit", "b", "c", "d"]);
    expect(await Promise.all(all)).toEqual(["a", "b", "c", "commit", "d"]);
    expect(clock.timerCount, "nobody's timer is left").toBe(0);
  });

  it("of whoever is gone never come, and keep nobody waiting", async () => {
    const { begun, take, end, clock } = setUp();
    const [gone, reason] = [new AbortController(), new Error("the deadline passed")];
    void take("a");
    const abandoned = take("b", { signal: gone.signal });
    void take("c");
    gone.abort(reason);
    await expect(abandoned).rejects.toBe(reason);
    await expect(take("too late", { signal: gone.signal })).rejects.toBe(reason);
    await end("a");
    await end("c");
    expect(begun).toEqual(["a", "c"]);
    expect(clock.timerCount).toBe(0);
  });

  it("are waited for so long, and the work that has begun for as long as it takes", async () => {
    const { begun, take, end, clock } = setUp();
    const first = take("a");
    const second = take("b");
    const refused = expect(second).rejects.toMatchObject({ kind: "transient", code: "POOL_BUSY" });
    await clock.advance(limits.poolWaitMaxMs * 2);
    await refused;
    await end("a");
    expect(await first).toBe("a");
    const third = take("c");
    await end("c");
    expect(await third).toBe("c");
    expect(begun).toEqual(["a", "c"]);
  });

  it("are not waited for by more than the bound", async () => {
    const { take, turns } = setUp();
    void take("a");
    const waiting = Array.from({ length: limits.poolWaitingMax }, (_, i) => take(`w-${i}`).catch((thrown: unknown) => thrown));
    await expect(take("one too many")).rejects.toMatchObject({ code: "POOL_BUSY" });
    const end = new Error("closed");
    turns.refuseAll(end);
    expect(new Set(await Promise.all(waiting))).toEqual(new Set([end]));
  });

  it("are never more at once than there may be, and none is lost, whatever fails or leaves", async () => {
    const step = fc.record({ isUrgent: fc.boolean(), fails: fc.boolean(), leaves: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 40 }), async (max, steps) => {
        const turns = new Turns(max, new ManualClock(0));
        let running = 0;
        let most = 0;
        const ended = await Promise.allSettled(
          steps.map(async ({ isUrgent, fails, leaves }) => {
            const leaver = new AbortController();
            const work = async (): Promise<void> => {
              running += 1;
              most = Math.max(most, running);
              await turn();
              running -= 1;
              if (fails) throw new Error("failed");
            };
            const taken = turns.take(work, { isUrgent, signal: leaver.signal });
            if (leaves) leaver.abort(new Error("left"));
            await taken;
          }),
        );
        expect(most).toBeLessThanOrEqual(max);
        expect(ended).toHaveLength(steps.length);
        for (const [index, one] of ended.entries()) if (!steps[index]?.fails && !steps[index]?.leaves) expect(one.status).toBe("fulfilled");
      }),
      { numRuns: 50 },
    );
  });
});
