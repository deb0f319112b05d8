import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findHolder, guessHolder, type Hold, HolderWatch, holdSpool } from "../../../src/client/spool/holder.js";
import { systemClock } from "../../../src/platform/clock.js";
import { limits } from "../../../src/platform/limits.js";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "mcpc-holder-"));
  writeFileSync(join(directory, "lock"), JSON.stringify({ pid: 1, host: "elsewhere", startedAt: "", opening: "before" }));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** A watch that has looked at the lock when its monotonic clock was at 0. */
function watching(): HolderWatch {
  const watch = new HolderWatch();
  expect(findHolder(directory, { monotonicMs: () => 0 }, watch)?.host).toBe("elsewhere");
  return watch;
}

test("of two processes that find a dead holder at once, the second does not take away the lock of the first", () => {
  let first: Hold | undefined;
  const [watch, firstWatch] = [watching(), watching()];
  const firstClock = { ...systemClock, monotonicMs: () => limits.spoolHolderGoneMs };
  const clock = {
    ...systemClock,
    // The second has read the dead lock by now, and judges it: the first is a moment quicker.
    monotonicMs: () => {
      first ??= holdSpool(directory, firstClock, firstWatch);
      return limits.spoolHolderGoneMs;
    },
  };
  expect(() => holdSpool(directory, clock, watch)).toThrow(/in use by process/);
  expect(findHolder(directory, systemClock, new HolderWatch())?.pid).toBe(process.pid);
  first?.release();
  expect(findHolder(directory, systemClock, new HolderWatch())).toBeUndefined();
});

test("who wants a spool goes by whether its lock changes, and not by any wall clock", () => {
  let [wallMs, passedMs] = [1_700_000_000_000, 0];
  const clock = { nowMs: () => wallMs + passedMs, monotonicMs: () => passedMs };
  const touch = (aheadMs: number): void => utimesSync(join(directory, "lock"), new Date(wallMs + aheadMs), new Date(wallMs + aheadMs));
  const watch = new HolderWatch();
  const isHeld = (): boolean => findHolder(directory, clock, watch) !== undefined;
  // By the wall it was gone an hour before the first look.
  touch(-3_600_000);
  expect(guessHolder(directory, clock)).toBeUndefined();
  expect(isHeld()).toBe(true);
  // Our wall jumps a week ahead while the holder beats.
  wallMs += 7 * 86_400_000;
  for (let beat = 1; beat <= 10; beat += 1) {
    passedMs += limits.spoolHolderBeatMs;
    touch(-7 * 86_400_000 + beat);
    expect(isHeld()).toBe(true);
  }
  // Its own is an hour ahead when it dies: it is not waited for by that clock.
  passedMs += 1_000;
  touch(3_600_000);
  expect(isHeld()).toBe(true);
  passedMs += limits.spoolHolderGoneMs - 1;
  expect(isHeld()).toBe(true);
  passedMs += 1;
  expect(isHeld()).toBe(false);
});

test("another opening on the other host is a sign of life, whatever time its lock has", () => {
  utimesSync(join(directory, "lock"), 5, 5);
  const watch = watching();
  writeFileSync(join(directory, "lock"), JSON.stringify({ pid: 9, host: "elsewhere", startedAt: "", opening: "after" }));
  utimesSync(join(directory, "lock"), 5, 5);
  expect(findHolder(directory, { monotonicMs: () => limits.spoolHolderGoneMs }, watch)?.pid).toBe(9);
});
