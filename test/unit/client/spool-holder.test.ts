import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { findHolder, type Hold, HolderWatch, holdSpool } from "../../../src/client/spool/holder.js";
import { systemClock } from "../../../src/platform/clock.js";
import { limits } from "../../../src/platform/limits.js";

test("of two processes that find a dead holder at once, the second does not take away the lock of the first", () => {
  const directory = mkdtempSync(join(tmpdir(), "mcpc-holder-"));
  try {
    const path = join(directory, "lock");
    writeFileSync(path, JSON.stringify({ pid: 1, host: "a host that is gone", startedAt: "", opening: "before" }));
    utimesSync(path, 1, 1);
    let first: Hold | undefined;
    const clock = {
      ...systemClock,
      // The second has read the dead lock by now, and judges it: the first is a moment quicker.
      nowMs: () => {
        first ??= holdSpool(directory, systemClock);
        return systemClock.nowMs();
      },
    };
    expect(() => holdSpool(directory, clock)).toThrow(/in use by process/);
    expect(findHolder(directory, systemClock)?.pid).toBe(process.pid);
    first?.release();
    expect(findHolder(directory, systemClock)).toBeUndefined();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test("who looks at a lock again and again goes by whether it changes, and not by the wall clocks of two hosts", () => {
  const directory = mkdtempSync(join(tmpdir(), "mcpc-holder-"));
  try {
    const path = join(directory, "lock");
    writeFileSync(path, JSON.stringify({ pid: 1, host: "elsewhere", startedAt: "", opening: "before" }));
    let [wallMs, passedMs] = [1_700_000_000_000, 0];
    const clock = { nowMs: () => wallMs + passedMs, monotonicMs: () => passedMs };
    const touch = (aheadMs: number): void => utimesSync(path, new Date(wallMs + aheadMs), new Date(wallMs + aheadMs));
    const watch = new HolderWatch();
    const isHeld = (): boolean => findHolder(directory, clock, watch) !== undefined;
    touch(-limits.spoolHolderGoneMs + 1_000);
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
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
