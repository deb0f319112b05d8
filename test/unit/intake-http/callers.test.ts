import { describe, expect, it } from "vitest";
import { Callers } from "../../../src/intake/http/callers.js";
import { CoordinatorError } from "../../../src/platform/errors.js";
import { limits } from "../../../src/platform/limits.js";
import { noonMs } from "../../support/draft.js";
import { ManualClock } from "../../support/manual-clock.js";

function reasonOf(take: () => void): string {
  try {
    take();
    return "";
  } catch (thrown) {
    return CoordinatorError.from(thrown).reason;
  }
}

describe("the allowances of callers", () => {
  it("each has its own, and gets it back with time", async () => {
    const clock = new ManualClock(noonMs);
    const callers = new Callers({ burst: 2, perSecond: 1 }, clock);
    const take = (caller: string) => reasonOf(() => callers.take(caller));
    expect([take("a"), take("a"), take("a"), take("b")]).toEqual(["", "", "RATE_EXCEEDED", ""]);
    await clock.advance(1_000);
    expect([take("a"), take("a")]).toEqual(["", "RATE_EXCEEDED"]);
  });

  it("says when to come again", () => {
    const callers = new Callers({ burst: 1, perSecond: 0.5 }, new ManualClock(noonMs));
    callers.take("a");
    expect(() => callers.take("a")).toThrow(expect.objectContaining({ code: "busy", retryAfterMs: 2_000 }));
  });

  it("strangers without end push out who was not heard of for longest, and nobody else", () => {
    const callers = new Callers({ burst: 1, perSecond: 0.001 }, new ManualClock(noonMs));
    callers.take("first");
    callers.take("second");
    for (let i = 0; i < limits.httpCallersMax - 2; i += 1) callers.take(`stranger ${i}`);
    expect(reasonOf(() => callers.take("first"))).toBe("RATE_EXCEEDED"); // and is now the one heard of last
    callers.take("one more");
    expect(reasonOf(() => callers.take("second"))).toBe(""); // forgotten, so it begins anew
    expect(reasonOf(() => callers.take("first"))).toBe("RATE_EXCEEDED");
  });
});
