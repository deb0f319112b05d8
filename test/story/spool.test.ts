import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { spoolFormat } from "../../src/client/spool/format-file.js";
import { HolderWatch } from "../../src/client/spool/holder.js";
import type { LmdbSpool } from "../../src/client/spool/lmdb-spool.js";
import { openSpool, type SpoolOptions } from "../../src/client/spool/open-spool.js";
import type { SpoolKind } from "../../src/client/spool/spool.js";
import type { SpoolTrouble } from "../../src/client/spool/trouble.js";
import { encodeEvent } from "../../src/client/wire/frames.js";
import { CoordinatorError } from "../../src/platform/errors.js";
import { limits } from "../../src/platform/limits.js";
import { outputOf } from "../support/child-output.js";
import { ManualClock } from "../support/manual-clock.js";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const kinds: readonly SpoolKind[] = ["start", "progress", "complete", "error"];

const root = mkdtempSync(join(tmpdir(), "spool-"));

afterAll(() => rmSync(root, { recursive: true, force: true }));

/** What a spool should hold: places in order, and what is said of each. */
type Model = {
  readonly waiting: Map<number, { readonly eventId: string; readonly kind: SpoolKind }>;
  readonly setAside: Map<number, { readonly eventId: string; readonly reason: string }>;
  lastPlace: number;
};
type Real = { spool: LmdbSpool; readonly directory: string; readonly clock: ManualClock };

class Put implements fc.AsyncCommand<Model, Real> {
  constructor(
    readonly kind: SpoolKind,
    readonly size: number,
    readonly count: number,
  ) {}
  check = () => true;
  async run(model: Model, real: Real): Promise<void> {
    for (let i = 0; i < this.count; i++) {
      const eventId = `e-${model.lastPlace + 1}-é`;
      const place = real.spool.put(eventId, this.kind, encodeEvent({ interactionId: "x".repeat(this.size) }));
      expect(place).toBeGreaterThan(model.lastPlace);
      model.lastPlace = place ?? 0;
      model.waiting.set(model.lastPlace, { eventId, kind: this.kind });
    }
  }
  toString = () => `put ${this.count} ${this.kind} of ${this.size}`;
}

/** Places that exist, by their share of all; and one that never did. */
const placesOf = (keys: Iterable<number>, shares: readonly number[]): number[] => {
  const all = [...keys];
  return all.length === 0 ? [] : [...new Set(shares.map((share) => all[Math.floor(share * all.length)] ?? 0))];
};

class Forget implements fc.AsyncCommand<Model, Real> {
  constructor(readonly shares: readonly number[]) {}
  check = () => true;
  async run(model: Model, real: Real): Promise<void> {
    await real.spool.flushed();
    const places = placesOf([...model.waiting.keys(), ...model.setAside.keys()], this.shares);
    real.spool.forget([...places, ...places, model.lastPlace + 1_000_000]);
    for (const place of places) if (!model.waiting.delete(place)) model.setAside.delete(place);
  }
  toString = () => `forget ${this.shares.length}`;
}

class SetAsideOne implements fc.AsyncCommand<Model, Real> {
  constructor(
    readonly share: number,
    readonly reason: string,
  ) {}
  check = () => true;
  async run(model: Model, real: Real): Promise<void> {
    await real.spool.flushed();
    for (const place of placesOf(model.waiting.keys(), [this.share])) {
      real.spool.setAside(place, this.reason);
      real.spool.setAside(place, "again");
      const { eventId } = model.waiting.get(place) ?? { eventId: "" };
      model.waiting.delete(place);
      model.setAside.set(place, { eventId, reason: this.reason });
    }
  }
  toString = () => `set aside as ${JSON.stringify(this.reason)}`;
}

class Look implements fc.AsyncCommand<Model, Real> {
  constructor(
    readonly isReopened: boolean,
    readonly page: number,
  ) {}
  check = () => true;
  async run(model: Model, real: Real): Promise<void> {
    await real.spool.flushed();
    if (this.isReopened) {
      await real.spool.close();
      real.spool = openSpool({ directory: real.directory, clock: real.clock });
    }
    const seen: [number, string][] = [];
    for (let place = 0; ; ) {
      const page = real.spool.readAfter(place, this.page);
      expect(page.length).toBeLessThanOrEqual(this.page);
      if (page.length === 0) break;
      for (const event of page) seen.push([event.place, event.eventId]);
      place = page.at(-1)?.place ?? place;
    }
    expect(seen).toEqual([...model.waiting].map(([place, { eventId }]) => [place, eventId]));
    const aside = real.spool.listSetAside(0, 10_000).map(({ place, eventId, reason }) => [place, { eventId, reason }]);
    expect(aside).toEqual([...model.setAside].sort(([a], [b]) => a - b));
    const { events, progressEvents, setAside, droppedProgress, refusedFull, unreadable } = real.spool.figures();
    const progress = [...model.waiting.values()].filter(({ kind }) => kind === "progress").length;
    expect({ events, progressEvents, setAside }).toEqual({
      events: model.waiting.size,
      progressEvents: progress,
      setAside: model.setAside.size,
    });
    expect({ droppedProgress, refusedFull, unreadable }).toEqual({ droppedProgress: 0, refusedFull: 0, unreadable: 0 });
  }
  toString = () => (this.isReopened ? "open again and look" : "look");
}

const freshDirectory = (): string => join(mkdtempSync(join(root, "d-")), "s.db");
const event = (size = 10): Uint8Array => encodeEvent({ interactionId: "x".repeat(size) });
const idsOf = (spool: LmdbSpool): readonly string[] => spool.readAfter(0, 10_000).map(({ eventId }) => eventId);

/** The refusal of an opening. */
function refusalOf(options: SpoolOptions): CoordinatorError {
  try {
    void openSpool(options).close();
  } catch (thrown) {
    return CoordinatorError.from(thrown);
  }
  throw new Error("it opened");
}

describe("what a spool that is full does", () => {
  it("drops the oldest progress first, and counts it", async () => {
    const spool = openSpool({ directory: freshDirectory(), maxEvents: 10 });
    for (let i = 0; i < 10; i++) spool.put(`old-${i}`, i % 2 === 0 ? "progress" : "start", event());
    await spool.flushed();
    for (let i = 0; i < 3; i++) spool.put(`new-${i}`, "complete", event());
    await spool.flushed();
    await spool.flushed();
    const left = ["old-1", "old-3", "old-5", "old-6", "old-7", "old-8", "old-9", "new-0", "new-1", "new-2"];
    expect(idsOf(spool)).toEqual(left);
    expect(spool.figures()).toMatchObject({ events: 10, progressEvents: 2, droppedProgress: 3, refusedFull: 0 });
    await spool.close();
  });

  it("does not take an event when there is no progress to drop, tells it at once, and not again for each", async () => {
    const troubles: SpoolTrouble[] = [];
    const clock = new ManualClock(1_700_000_000_000);
    const spool = openSpool({ directory: freshDirectory(), maxBytes: 5_000, clock, onTrouble: (trouble) => troubles.push(trouble) });
    while (spool.put("s", "start", event(500)) !== undefined);
    for (let i = 0; i < 20; i++) expect(spool.put("more", "error", event(500))).toBeUndefined();
    expect(spool.put("p", "progress", event(500))).toBeUndefined();
    expect(spool.figures()).toMatchObject({ events: 9, refusedFull: 21, droppedProgress: 1 });
    expect(troubles.map(({ kind, count }) => [kind, count])).toEqual([["full", 1]]);
    await clock.advance(limits.spoolTroubleIntervalMs);
    spool.put("more", "error", event(500));
    expect(troubles.map(({ count }) => count)).toEqual([1, 22]);
    await spool.flushed();
    spool.forget(spool.readAfter(0, 1).map(({ place }) => place));
    expect(spool.put("again", "error", event(400))).toBeDefined();
    await spool.close();
  });

  it("holds no more in memory than its bound when events come faster than the disk", async () => {
    const spool = openSpool({ directory: freshDirectory() });
    let taken = 0;
    for (let i = 0; i < limits.spoolPendingMaxEvents + 1_000; i++) if (spool.put("s", "start", event()) !== undefined) taken++;
    expect(taken).toBe(limits.spoolPendingMaxEvents);
    expect(spool.put("p", "progress", event())).toBeUndefined();
    await spool.flushed();
    expect(spool.figures()).toMatchObject({ pendingEvents: 0, events: limits.spoolPendingMaxEvents });
    expect(spool.put("s", "start", event())).toBeDefined();
    await spool.close();
  });
});

describe("what happens to events that are too old", () => {
  it("progress is dropped and the others are set aside as TOO_OLD, but not before what an earlier process left could be offered", async () => {
    const clock = new ManualClock(1_700_000_000_000);
    const directory = freshDirectory();
    const first = openSpool({ directory, clock, maxAgeMs: 3_600_000 });
    first.put("a", "start", event());
    first.put("b", "progress", event());
    await first.flushed();
    await clock.advance(3_600_000 - 1);
    first.put("c", "complete", event());
    await first.flushed();
    expect(idsOf(first)).toEqual(["a", "b", "c"]);
    await clock.advance(limits.spoolSweepIntervalMs);
    await first.flushed();
    expect(idsOf(first)).toEqual(["c"]);
    expect(first.listSetAside(0, 10).map(({ eventId, reason }) => [eventId, reason])).toEqual([["a", "TOO_OLD"]]);
    expect(first.figures()).toMatchObject({ droppedProgress: 1, setAside: 1, events: 1 });
    await first.close();
    await clock.advance(3_600_000);
    const second = openSpool({ directory, clock, maxAgeMs: 3_600_000 });
    expect(idsOf(second)).toEqual(["c"]);
    await clock.advance(limits.spoolAgeGraceMs);
    await second.flushed();
    expect(second.listSetAside(0, 10).map(({ eventId }) => eventId)).toEqual(["a", "c"]);
    await second.close();
  });

  it("a wall clock that jumps forward by more than the age makes nothing too old, neither what waits nor what comes then", async () => {
    const machine = new ManualClock(1_700_000_000_000);
    let aheadMs = 0;
    const clock = { ...machine, nowMs: () => machine.nowMs() + aheadMs };
    const directory = freshDirectory();
    const first = openSpool({ directory, clock });
    first.put("before", "start", event());
    first.put("progress", "progress", event());
    await first.flushed();
    await machine.advance(limits.spoolAgeGraceMs);
    aheadMs = limits.spoolMaxAgeMs + 3_600_000;
    first.put("after", "complete", event());
    await first.flushed();
    await machine.advance(limits.spoolAgeGraceMs);
    await first.flushed();
    expect(idsOf(first)).toEqual(["before", "progress", "after"]);
    expect(first.figures()).toMatchObject({ setAside: 0, droppedProgress: 0 });
    await first.close();
    // With the jump between two processes nobody can tell it from a long pause: what waits can be offered for a while, and then is kept and told.
    const troubles: SpoolTrouble[] = [];
    const second = openSpool({ directory, clock, onTrouble: (trouble) => troubles.push(trouble) });
    await machine.advance(limits.spoolAgeGraceMs - limits.spoolSweepIntervalMs);
    await second.flushed();
    expect(idsOf(second)).toEqual(["before", "progress", "after"]);
    await machine.advance(limits.spoolSweepIntervalMs * 2);
    await second.flushed();
    expect(idsOf(second)).toEqual(["after"]);
    expect(second.listSetAside(0, 10).map(({ eventId, reason }) => [eventId, reason])).toEqual([["before", "TOO_OLD"]]);
    expect(troubles.map(({ kind }) => kind)).toContain("too_old");
    await second.close();
  });

  it("one that is stored after all is no longer set aside", async () => {
    const clock = new ManualClock(1_700_000_000_000);
    const spool = openSpool({ directory: freshDirectory(), clock, maxAgeMs: 1_000 });
    const place = spool.put("a", "start", event()) ?? 0;
    await spool.flushed();
    await clock.advance(limits.spoolAgeGraceMs);
    await spool.flushed();
    expect(spool.figures().setAside).toBe(1);
    spool.forget([place]);
    await spool.flushed();
    expect(spool.figures().setAside).toBe(0);
    await spool.close();
  });
});

describe("what is set aside", () => {
  it("is bounded: the oldest is forgotten, counted and told", async () => {
    const troubles: SpoolTrouble[] = [];
    const spool = openSpool({ directory: freshDirectory(), onTrouble: (trouble) => troubles.push(trouble) });
    for (let i = 0; i < limits.spoolSetAsideMaxEvents + 7; i++) spool.put(`e-${i}`, "error", event());
    await spool.flushed();
    for (let place = 1; place <= limits.spoolSetAsideMaxEvents + 7; place++) spool.setAside(place, "INVALID");
    await spool.flushed();
    await spool.flushed();
    expect(spool.figures()).toMatchObject({ setAside: limits.spoolSetAsideMaxEvents, droppedSetAside: 7, events: 0 });
    expect(spool.listSetAside(0, 1)[0]?.eventId).toBe("e-7");
    expect(troubles.map(({ kind }) => kind)).toEqual(["set_aside_full"]);
    await spool.close();
  });
});

describe("who may open a spool", () => {
  it("one at a time: a second opening in the same process is refused with who holds it", async () => {
    const directory = freshDirectory();
    const spool = openSpool({ directory });
    const { code, reason, metadata } = refusalOf({ directory });
    expect({ code, reason, pid: metadata.pid }).toEqual({ code: "failed_precondition", reason: "SPOOL_IN_USE", pid: String(process.pid) });
    await spool.close();
    await openSpool({ directory }).close();
  });

  it("not another process while the first lives, and at once when it was killed", async () => {
    const directory = freshDirectory();
    const other = spawn(process.execPath, ["--import", "tsx", "test/support/spool-writer.ts", directory], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = outputOf(other);
    await new Promise((resolve) => other.stdout.once("data", resolve));
    const { reason, metadata } = refusalOf({ directory });
    expect({ reason, pid: metadata.pid }).toEqual({ reason: "SPOOL_IN_USE", pid: String(other.pid) });
    other.kill("SIGKILL");
    await ended;
    await openSpool({ directory }).close();
  });

  it("a process whose pid the dead holder had is not taken for it", async () => {
    const directory = freshDirectory();
    await openSpool({ directory }).close();
    writeFileSync(
      join(directory, "lock"),
      JSON.stringify({ pid: process.pid, host: hostname(), startedAt: "another boot 1", opening: "x" }),
    );
    await openSpool({ directory }).close();
  });

  it("a holder on another host holds it for as long as it shows itself", async () => {
    const directory = freshDirectory();
    await openSpool({ directory }).close();
    writeFileSync(join(directory, "lock"), JSON.stringify({ pid: 1, host: "elsewhere", startedAt: "boot 1", opening: "x" }));
    const clock = new ManualClock(Date.now());
    const watch = new HolderWatch();
    expect(refusalOf({ directory, clock, watch }).metadata.host).toBe("elsewhere");
    clock.stall(limits.spoolHolderGoneMs);
    await openSpool({ directory, clock, watch }).close();
  });

  it("a process whose wall clock is ahead does not take it from a holder on another host at its first look", async () => {
    const directory = freshDirectory();
    await openSpool({ directory }).close();
    writeFileSync(join(directory, "lock"), JSON.stringify({ pid: 1, host: "elsewhere", startedAt: "boot 1", opening: "x" }));
    const clock = new ManualClock(Date.now() + 7 * 86_400_000);
    const { reason, message } = refusalOf({ directory, clock });
    expect(reason).toBe("SPOOL_IN_USE");
    expect(message).toContain("free 30 s after the first try");
  });

  it("nobody with an older version: both formats are named and nothing is touched", async () => {
    const directory = freshDirectory();
    const spool = openSpool({ directory });
    spool.put("a", "start", event());
    await spool.close();
    writeFileSync(join(directory, "format"), "mcp-coordinator spool 7\n");
    const before = readdirSync(directory).map((name) => [name, readFileSync(join(directory, name), "base64")]);
    const { code, reason, metadata } = refusalOf({ directory });
    expect({ code, reason, metadata }).toEqual({
      code: "failed_precondition",
      reason: "SPOOL_NEWER",
      metadata: { found: "7", supported: String(spoolFormat) },
    });
    expect(readdirSync(directory).map((name) => [name, readFileSync(join(directory, name), "base64")])).toEqual(before);
  });

  it.each([
    ["a file", (path: string) => writeFileSync(path, "SQLite format 3")],
    ["a file on the way", (path: string) => writeFileSync(join(path, ".."), "")],
    ["a directory of something else", (path: string) => writeFileSync(join(mkdtempSync(`${path}-`), "photo.jpg"), "")],
  ])("nobody where the path is %s: it is refused, named, and left alone", (what, make) => {
    const parent = freshDirectory();
    const directory = join(parent, "spool.db");
    if (what !== "a file on the way") mkdirSync(parent, { recursive: true });
    make(directory);
    const found = what === "a directory of something else" ? join(parent, readdirSync(parent)[0] ?? "") : directory;
    const { code, reason, fields } = refusalOf({ directory: found });
    expect({ code, reason, field: fields[0]?.field }).toEqual({
      code: "failed_precondition",
      reason: "SPOOL_UNUSABLE",
      field: "directory",
    });
  });

  it("nobody who may not write there", () => {
    const parent = freshDirectory();
    mkdirSync(parent, { recursive: true, mode: 0o755 });
    chmodSync(root, 0o755);
    chmodSync(join(parent, ".."), 0o755);
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) process.seteuid?.(65_534);
    else chmodSync(parent, 0o555);
    try {
      const { code, reason } = refusalOf({ directory: join(parent, "s.db") });
      expect({ code, reason }).toEqual({ code: "failed_precondition", reason: "SPOOL_UNUSABLE" });
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
  });
});

describe("looking into a spool", () => {
  it("works while a reporter has it open, lists what was refused, and changes nothing", async () => {
    const directory = freshDirectory();
    const spool = openSpool({ directory });
    for (const id of ["a", "b", "c"]) spool.put(id, "start", encodeEvent({ interactionId: `of-${id}` }));
    await spool.flushed();
    spool.setAside(2, "INVALID: label");
    await spool.flushed();
    const cli = async (...args: readonly string[]) =>
      outputOf(spawn(process.execPath, ["--import", "tsx", "src/main.ts", "spool", ...args], { stdio: ["ignore", "pipe", "pipe"] }));
    const figures = await cli(directory, "--json");
    expect(figures.code).toBe(0);
    expect(JSON.parse(figures.stdout)).toMatchObject({
      events: 2,
      setAside: 1,
      lastPlace: 3,
      format: spoolFormat,
      holder: { pid: process.pid },
    });
    const refused = await cli(directory, "--set-aside");
    const line = { place: 2, eventId: "b", reason: "INVALID: label", event: { interactionId: "of-b" } };
    expect(
      refused.stdout
        .trim()
        .split("\n")
        .map((text) => JSON.parse(text)),
    ).toMatchObject([line]);
    const nothing = await cli(join(directory, "..", "nothing"));
    expect(nothing.code).not.toBe(0);
    expect(nothing.stderr).toContain("there is no spool in it");
    expect(idsOf(spool)).toEqual(["a", "c"]);
    await spool.close();
  });
});

describe("after a spool is closed", () => {
  it("nothing throws: puts are refused and counted, reads are empty, and closing again is harmless", async () => {
    const spool = openSpool({ directory: freshDirectory() });
    const place = spool.put("a", "start", event()) ?? 0;
    await Promise.all([spool.close(), spool.close()]);
    expect(spool.put("b", "start", event())).toBeUndefined();
    spool.forget([place]);
    spool.setAside(place, "x");
    await spool.flushed();
    expect([spool.readAfter(0, 10), spool.listSetAside(0, 10)]).toEqual([[], []]);
    expect(spool.figures()).toMatchObject({ events: 1, refusedFull: 1 });
  });
});

describe("a spool", () => {
  it(`holds what was put and not forgotten, in order, whatever is done in between and across openings (SEED=${seed})`, async () => {
    const share = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    const commands = [
      fc
        .record({
          kind: fc.constantFrom(...kinds),
          size: fc.constantFrom(0, 5, 300, 3_000, 20_000),
          count: fc.integer({ min: 1, max: 40 }),
        })
        .map(({ kind, size, count }) => new Put(kind, size, count)),
      fc.array(share, { maxLength: 30 }).map((shares) => new Forget(shares)),
      fc.tuple(share, fc.constantFrom("INVALID", "ü".repeat(10), "")).map(([at, reason]) => new SetAsideOne(at, reason)),
      fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 50 })).map(([isReopened, page]) => new Look(isReopened, page)),
    ];
    await fc.assert(
      fc.asyncProperty(fc.commands(commands, { maxCommands: 40, size: "max" }), async (run) => {
        const directory = freshDirectory();
        const clock = new ManualClock(1_700_000_000_000);
        const real: Real = { spool: openSpool({ directory, clock }), directory, clock };
        try {
          await fc.asyncModelRun(
            () => ({ model: { waiting: new Map(), setAside: new Map(), lastPlace: 0 } satisfies Model, real }),
            [...run, new Look(true, 7)],
          );
        } finally {
          await real.spool.close();
          rmSync(join(directory, ".."), { recursive: true });
        }
      }),
      { seed, numRuns: Number(process.env.RUNS ?? 40) },
    );
  });
});
