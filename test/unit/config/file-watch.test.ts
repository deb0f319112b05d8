import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type FileSight, type FileWatch, look, markNow, watchFile } from "../../../src/config/file-watch.js";
import { ManualClock } from "../../support/manual-clock.js";

const [everyMs, settleMs] = [1_000, 2_000];

describe("a look at a file", () => {
  const looks = fc.array(fc.record({ mark: fc.constantFrom("", "a", "b", "c"), afterMs: fc.integer({ min: 0, max: 3_000 }) }), {
    maxLength: 40,
  });

  test("makes due what is not in force and has stood still for the time to settle, and nothing else", () => {
    fc.assert(
      fc.property(looks, (seen) => {
        let sight: FileSight = { taken: "a", seen: "a", sinceMs: 0 };
        let nowMs = 0;
        const history: { readonly mark: string; readonly atMs: number }[] = [{ mark: "a", atMs: 0 }];
        for (const { mark, afterMs } of seen) {
          nowMs += afterMs;
          history.push({ mark, atMs: nowMs });
          const others = history.filter((one) => one.mark !== mark);
          const firstOfRun = history[history.lastIndexOf(others.at(-1) ?? { mark, atMs: 0 }) + 1];
          const { next, isDue } = look(sight, mark, nowMs, settleMs);
          expect(isDue).toBe(mark !== sight.taken && nowMs - (firstOfRun?.atMs ?? nowMs) >= settleMs);
          sight = isDue ? { ...next, taken: mark } : next;
        }
      }),
    );
  });
});

describe("a watched file", () => {
  let dir = "";
  let path = "";
  let clock: ManualClock;
  let watch: FileWatch;
  let taken: string[];
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "mcpc-watch-"));
    path = join(dir, "c.toml");
    writeFileSync(path, "one");
    clock = new ManualClock(0);
    taken = [];
    begin();
  });
  afterEach(() => {
    watch.close();
    rmSync(dir, { recursive: true, force: true });
  });

  function begin(): void {
    watch = watchFile({
      ...{ clock, path, everyMs, settleMs, taken: markNow(path) ?? "" },
      read: () => {
        try {
          return readFileSync(path, "utf8");
        } catch {
          return "(none)";
        }
      },
      take: (content) => taken.push(content),
    });
  }

  /** Lets one look begin and end. */
  async function looked(): Promise<void> {
    await clock.advance(everyMs);
    await expect.poll(() => clock.timerCount).toBe(1);
  }

  test("is taken once after it was written, and not before it has stood still", async () => {
    writeFileSync(path, "two");
    for (const expected of [[], [], ["two"], ["two"], ["two"]]) {
      await looked();
      expect(taken).toEqual(expected);
    }
  });

  test("that is written in pieces is taken when it is whole", async () => {
    for (const part of ["t", "tw", "two", "two,", "two, three"]) {
      writeFileSync(path, part);
      await looked();
      await looked();
      expect(taken).toEqual([]);
    }
    await looked();
    expect(taken).toEqual(["two, three"]);
  });

  test("that another one is renamed over is seen", async () => {
    writeFileSync(join(dir, "c.toml.new"), "two");
    renameSync(join(dir, "c.toml.new"), path);
    for (let i = 0; i < 3; i += 1) await looked();
    expect(taken).toEqual(["two"]);
  });

  test("behind links is seen when a link is swapped, as Kubernetes does with a ConfigMap", async () => {
    watch.close();
    for (const [name, text] of [
      ["..2027_01", "one"],
      ["..2027_02", "two"],
    ] as const) {
      mkdirSync(join(dir, name));
      writeFileSync(join(dir, name, "d.toml"), text);
    }
    symlinkSync("..2027_01", join(dir, "..data"));
    path = join(dir, "d.toml");
    symlinkSync(join("..data", "d.toml"), path);
    clock = new ManualClock(0);
    begin();
    await looked();
    symlinkSync("..2027_02", join(dir, "..data_tmp"));
    renameSync(join(dir, "..data_tmp"), join(dir, "..data"));
    for (let i = 0; i < 3; i += 1) await looked();
    expect(taken).toEqual(["two"]);
  });

  test("that is removed and comes back is taken both times", async () => {
    rmSync(path);
    for (let i = 0; i < 4; i += 1) await looked();
    writeFileSync(path, "two");
    for (let i = 0; i < 4; i += 1) await looked();
    expect(taken).toEqual(["(none)", "two"]);
  });

  test("that was read by somebody else meanwhile is not taken again", async () => {
    writeFileSync(path, "two");
    await looked();
    watch.skip(markNow(path) ?? "");
    for (let i = 0; i < 4; i += 1) await looked();
    expect(taken).toEqual([]);
  });

  test("that changes while it is read is read again, and the first reading is thrown away", async () => {
    watch.close();
    clock = new ManualClock(0);
    let readings = 0;
    watch = watchFile({
      ...{ clock, path, everyMs, settleMs, taken: "another one" },
      read: () => {
        readings += 1;
        if (readings === 1) writeFileSync(path, "one and more");
        return `reading ${readings}`;
      },
      take: (content) => taken.push(content),
    });
    for (let i = 0; i < 8; i += 1) await looked();
    expect(taken).toEqual(["reading 2"]);
  });
});

test("a directory and a device are not watched", () => {
  expect(markNow(tmpdir())).toBeUndefined();
  expect(markNow("/dev/null")).toBeUndefined();
  expect(markNow("/nowhere/c.toml")).toBe("");
});
