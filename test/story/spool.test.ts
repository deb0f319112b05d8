import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LmdbSpool } from "../../src/client/spool/lmdb-spool.js";
import { openSpool } from "../../src/client/spool/open-spool.js";
import type { SpoolKind } from "../../src/client/spool/spool.js";
import { encodeEvent } from "../../src/client/wire/frames.js";
import { ManualClock } from "../support/manual-clock.js";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const kinds: readonly SpoolKind[] = ["start", "progress", "complete", "error"];

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
        const directory = join(mkdtempSync(join(tmpdir(), "spool-")), "s.db");
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
