import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { findHolder, type Hold, holdSpool } from "../../../src/client/spool/holder.js";
import { systemClock } from "../../../src/platform/clock.js";

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
