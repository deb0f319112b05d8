import { describe, expect, it } from "vitest";
import { Recent } from "../../../src/intake/http/recent.js";
import { limits } from "../../../src/platform/limits.js";
import { createDeferred } from "../../support/deferred.js";
import { noonMs } from "../../support/draft.js";
import { ManualClock } from "../../support/manual-clock.js";

function setUp() {
  const clock = new ManualClock(noonMs);
  const recent = new Recent<number>(clock);
  let reads = 0;
  const read = (key: string) => recent.read(key, async () => (reads += 1));
  return { clock, recent, read };
}

describe("figures that were read a moment ago", () => {
  it("are given again for as long as they are fresh", async () => {
    const { clock, read } = setUp();
    expect(await read("a")).toEqual({ value: 1, isHit: false });
    await clock.advance(limits.httpFiguresMaxAgeMs - 1);
    expect(await read("a")).toEqual({ value: 1, isHit: true });
    await clock.advance(1);
    expect(await read("a")).toEqual({ value: 2, isHit: false });
  });

  it("are of whom they are asked for", async () => {
    const { read } = setUp();
    expect([await read("a"), await read("b")].map(({ value }) => value)).toEqual([1, 2]);
  });

  it("are read once for all who ask at the same time", async () => {
    const { recent, read } = setUp();
    const gate = createDeferred();
    const first = recent.read("a", async () => {
      await gate.promise;
      return 7;
    });
    const second = read("a");
    gate.resolve();
    expect([await first, await second]).toEqual([
      { value: 7, isHit: false },
      { value: 7, isHit: true },
    ]);
  });

  it("that could not be read are asked for again", async () => {
    const { recent, read } = setUp();
    await expect(recent.read("a", async () => Promise.reject(new Error("away")))).rejects.toThrow("away");
    expect(await read("a")).toEqual({ value: 1, isHit: false });
  });

  it("are forgotten, oldest first, above the bound", async () => {
    const { read } = setUp();
    for (let i = 0; i <= limits.httpFiguresMaxCount; i += 1) await read(`k${i}`);
    expect((await read("k1")).isHit).toBe(true);
    expect((await read("k0")).isHit).toBe(false);
  });
});
