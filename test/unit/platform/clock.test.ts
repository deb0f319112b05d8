import { expect, test, vi } from "vitest";
import { systemClock } from "../../../src/platform/clock.js";

test("a task runs once after its delay unless it is cancelled, and cancelling later is harmless", () => {
  vi.useFakeTimers();
  try {
    const ran: string[] = [];
    const cancelKept = systemClock.after(10, () => ran.push("kept"));
    const cancelDropped = systemClock.after(10, () => ran.push("dropped"));
    cancelDropped();
    vi.advanceTimersByTime(9);
    expect(ran).toEqual([]);
    vi.advanceTimersByTime(1_000);
    cancelKept();
    expect(ran).toEqual(["kept"]);
  } finally {
    vi.useRealTimers();
  }
});

test("monotonic time never goes back and wall time is since 1970", () => {
  const times = Array.from({ length: 100 }, systemClock.monotonicMs);
  expect([...times].sort((left, right) => left - right)).toEqual(times);
  expect(Math.abs(systemClock.nowMs() - Date.now())).toBeLessThan(60_000);
});

test("a delay that is longer than a timer can hold does not end at once", async () => {
  let hasRun = false;
  const cancel = systemClock.after(2 ** 31, () => {
    hasRun = true;
  });
  await new Promise<void>((resolve) => setTimeout(resolve, 20));
  cancel();
  expect(hasRun).toBe(false);
});
