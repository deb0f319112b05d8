import { pino } from "pino";
import { describe, expect, test } from "vitest";
import type { Clock } from "../../../src/platform/clock.js";
import { limits } from "../../../src/platform/limits.js";
import { tableDigest } from "../../../src/smart-router/digest.js";
import { isNewer, type StoredPublication } from "../../../src/smart-router/publication.js";
import { createPublisher, type Publisher, type PublisherDeps } from "../../../src/smart-router/publish.js";
import { createWeightRules } from "../../../src/smart-router/rules.js";
import { routerDefaults as settings } from "../../../src/smart-router/settings.js";
import { type Committed, createSignals, type Signals } from "../../../src/smart-router/signals.js";
import { plainStanding, type Standing } from "../../../src/smart-router/standing.js";
import type { PublishedRoutes } from "../../../src/smart-router/table.js";
import { createA58, type WeightRule } from "../../../src/smart-router/weigh.js";
import { ManualClock } from "../../support/manual-clock.js";
import { estimatesFromTallies } from "../../support/tally-estimates.js";

/** The publications of a database: terms fence, and it can be out of reach, before or after it has committed. */
class Publications {
  readonly rows: StoredPublication[] = [];
  claims = 0;
  outage: "none" | "before commit" | "after commit" = "none";
  #term = 0;

  readonly acquireTerm = async () => {
    this.#failIf("before commit");
    this.claims += 1;
    this.#term += 1;
    return { term: this.#term, version: this.newest?.version ?? 0 };
  };
  readonly store = async (publication: StoredPublication): Promise<boolean> => {
    this.#failIf("before commit");
    if (publication.term < this.#term) return false;
    if (!isNewer(publication, this.newest)) throw new Error(`version ${publication.version} is used twice`);
    this.rows.push(publication);
    this.#failIf("after commit");
    return true;
  };
  readonly readNewest = async () => {
    this.#failIf("before commit");
    return this.newest;
  };
  get newest(): StoredPublication | undefined {
    return this.rows.at(-1);
  }
  #failIf(outage: "before commit" | "after commit"): void {
    if (this.outage === outage) throw new Error("connection terminated");
  }
}

type Coordinator = {
  readonly publisher: Publisher;
  readonly signals: Signals;
  readonly live: Set<string>;
  readonly seen: PublishedRoutes[];
};

function coordinator(publications: Publications, clock: ManualClock, more: Partial<PublisherDeps> = {}): Coordinator {
  const signals = createSignals(settings);
  const live = new Set<string>();
  const seen: PublishedRoutes[] = [];
  const publisher = createPublisher(
    {
      ...{ acquireTerm: publications.acquireTerm, store: publications.store, readNewest: publications.readNewest },
      ...{
        liveMcpIds: () => live,
        signals,
        rule: () => createA58(settings),
        estimates: estimatesFromTallies(signals),
        standings: () => new Map(),
        clock,
        log: pino({ level: "silent" }),
        holdsLead: async () => false,
      },
      ...more,
    },
    settings,
  );
  publisher.subscribe((routes) => seen.push(routes));
  return { publisher, signals, live, seen };
}

/** The same time on a machine whose wall clock is wrong. */
const aheadBy = ({ nowMs, monotonicMs, after }: Clock, ms: number): Clock => ({ nowMs: () => nowMs() + ms, monotonicMs, after });

const startMs = Date.UTC(2026, 10, 20);
const sharesOf = (routes: PublishedRoutes | undefined) =>
  Object.fromEntries((routes?.table ?? []).map(({ mcpId, weight }) => [mcpId, weight]));

function ended(mcpId: string, receivedAtMonoMs: number, durationMs: number): Committed {
  const facts = { kind: "terminal", success: true, durationMs, qualityScore: undefined, errorCode: "", adapterUsed: "" } as const;
  return { mcpId, facts, receivedAtMonoMs };
}

/** Ten ends a second of each MCP, with the given durations, while time passes. */
async function traffic(
  clock: ManualClock,
  { signals }: Coordinator,
  durations: Readonly<Record<string, number>>,
  seconds: number,
): Promise<void> {
  for (let tenth = 0; tenth < seconds * 10; tenth += 1) {
    signals.observe(Object.entries(durations).map(([mcpId, durationMs]) => ended(mcpId, clock.monotonicMs(), durationMs)));
    await clock.advance(100);
  }
}

describe("one coordinator", () => {
  test("publishes an empty table at first, and equal weights as soon as MCPs are there", async () => {
    const clock = new ManualClock(startMs);
    const publications = new Publications();
    const one = coordinator(publications, clock);
    await one.publisher.start();
    expect(one.publisher.role()).toBe("leader");
    expect(one.publisher.current()).toMatchObject({
      term: 1,
      version: 1,
      reason: "initial",
      table: [],
      digest: "e3b0c44298fc1c14",
      validForMs: 180_000,
    });
    one.live.add("b").add("a");
    await clock.advance(250);
    expect(one.publisher.current()).toMatchObject({ version: 2, reason: "membership" });
    expect(sharesOf(one.publisher.current())).toEqual({ a: 5_000, b: 5_000 });
    await one.publisher.close();
  });

  test("gives the faster MCP more, and says why", async () => {
    const clock = new ManualClock(startMs);
    const one = coordinator(new Publications(), clock);
    await one.publisher.start();
    await traffic(clock, one, { fast: 100, slow: 400 }, 90);
    const routes = one.publisher.current();
    expect(sharesOf(routes).fast).toBeGreaterThan(7_800);
    const [fast, slow] = routes?.table ?? [];
    const lnRaw = (route: typeof fast) => route?.why.reduce((sum, factor) => sum + factor.contribution, 0) ?? Number.NaN;
    expect(fast?.state).toBe("active");
    expect(lnRaw(fast)).toBeCloseTo(Math.log(100), 6);
    expect(lnRaw(slow)).toBeCloseTo(Math.log(25), 6);
    expect(routes?.digest).toBe(tableDigest(routes?.table ?? []));
    await one.publisher.close();
  });

  test("drops an MCP without a session 180 s after its last event, and keeps one with a session", async () => {
    const clock = new ManualClock(startMs);
    const one = coordinator(new Publications(), clock);
    await one.publisher.start();
    one.live.add("quiet");
    one.signals.observe([ended("gone", clock.monotonicMs(), 10)]);
    await clock.advance(179_500);
    expect(Object.keys(sharesOf(one.publisher.current()))).toEqual(["gone", "quiet"]);
    await clock.advance(1_000);
    expect(sharesOf(one.publisher.current())).toEqual({ quiet: 10_000 });
    await one.publisher.close();
  });

  test("holds no more MCPs than the bound: those heard last", async () => {
    const clock = new ManualClock(startMs);
    const one = coordinator(new Publications(), clock);
    for (let index = 0; index < limits.routedMcpMax + 5; index += 1) one.live.add(`silent-${index}`);
    one.signals.observe([ended("was heard", 0, 10)]);
    await one.publisher.start();
    const table = one.publisher.current()?.table ?? [];
    expect(table).toHaveLength(limits.routedMcpMax);
    expect(table.some(({ mcpId }) => mcpId === "was heard")).toBe(true);
    await one.publisher.close();
  });

  test("shows a table to nobody before it is committed", async () => {
    const clock = new ManualClock(startMs);
    const publications = new Publications();
    let commit = (_: boolean): void => {};
    const one = coordinator(publications, clock, {
      store: () =>
        new Promise((resolve) => {
          commit = resolve;
        }),
    });
    const started = one.publisher.start();
    await clock.advance(5_000);
    expect([one.publisher.current(), one.seen]).toEqual([undefined, []]);
    commit(true);
    await started;
    expect(one.seen).toHaveLength(1);
    expect(one.publisher.current()).toBe(one.seen[0]);
    await one.publisher.close();
  });

  test("ends its loop when it is closed, after the round under way", async () => {
    const clock = new ManualClock(startMs);
    const publications = new Publications();
    {
      await using publisher = coordinator(publications, clock).publisher;
      await publisher.start();
    }
    await clock.advance(120_000);
    expect(publications.rows).toHaveLength(1);
    expect(clock.timerCount).toBe(0);
  });

  test("a subscriber that has gone hears nothing more", async () => {
    const clock = new ManualClock(startMs);
    const one = coordinator(new Publications(), clock);
    const heard: number[] = [];
    const stop = one.publisher.subscribe((routes) => heard.push(routes.version));
    await one.publisher.start();
    stop();
    await clock.advance(60_000);
    expect(heard).toEqual([1]);
    expect(one.seen.length).toBeGreaterThan(1);
    await one.publisher.close();
  });
});

describe("news of standing", () => {
  test("wakes the publisher: the table follows at once, and two of them 250 ms apart", async () => {
    const clock = new ManualClock(startMs);
    const standings = new Map<string, Standing>();
    const one = coordinator(new Publications(), clock, { standings: () => standings });
    one.live.add("a").add("b").add("c");
    await one.publisher.start();
    await clock.advance(10_100);
    standings.set("a", { ...plainStanding(10), state: "ejected" });
    one.publisher.wake();
    await clock.advance(0);
    expect(one.publisher.current()).toMatchObject({ reason: "ejected:a" });
    expect(sharesOf(one.publisher.current())).toEqual({ a: 0, b: 5_000, c: 5_000 });
    standings.set("b", { ...plainStanding(10), state: "draining" });
    one.publisher.wake();
    await clock.advance(249);
    expect(sharesOf(one.publisher.current()).b).toBe(5_000);
    await clock.advance(1);
    expect(one.publisher.current()).toMatchObject({ reason: "drain:b" });
    standings.set("b", { ...plainStanding(10), state: "gone" });
    one.live.delete("b");
    await clock.advance(250);
    expect(Object.keys(sharesOf(one.publisher.current()))).toEqual(["a", "c"]);
    await one.publisher.close();
  });

  test("another rule takes over from the shares that are in force, under its own name", async () => {
    const clock = new ManualClock(startMs);
    const rules = createWeightRules(settings);
    let rule: WeightRule = rules["a58-wrr/1"];
    const one = coordinator(new Publications(), clock, { rule: () => rule });
    await one.publisher.start();
    await traffic(clock, one, { fast: 100, slow: 400 }, 90);
    const before = sharesOf(one.publisher.current());
    rule = rules["quality-tail-load/1"];
    await traffic(clock, one, { fast: 100, slow: 400 }, 60);
    expect(one.publisher.current()?.policyId).toBe("quality-tail-load/1");
    const fastest = one.seen.filter(({ policyId }) => policyId === "quality-tail-load/1").map((routes) => sharesOf(routes).fast ?? 0);
    for (const share of fastest) expect(Math.abs(share - (before.fast ?? 0))).toBeLessThan(300);
    await one.publisher.close();
  });
});

describe("an outage of the store", () => {
  test("keeps the last table in force, publishes nothing unstored, and ends by itself", async () => {
    const clock = new ManualClock(startMs);
    const publications = new Publications();
    const one = coordinator(publications, clock);
    one.live.add("a");
    await one.publisher.start();
    publications.outage = "before commit";
    one.live.add("b");
    await clock.advance(60_000);
    expect(sharesOf(one.publisher.current())).toEqual({ a: 10_000 });
    publications.outage = "none";
    await clock.advance(1_000);
    expect(one.publisher.current()).toMatchObject({ reason: "membership" });
    expect(sharesOf(one.publisher.current())).toEqual({ a: 5_000, b: 5_000 });
    await one.publisher.close();
  });

  test("after a commit whose answer was lost, the next publication has a version of its own", async () => {
    const clock = new ManualClock(startMs);
    const publications = new Publications();
    const one = coordinator(publications, clock);
    one.live.add("a");
    await one.publisher.start();
    publications.outage = "after commit";
    one.live.add("b");
    await clock.advance(250);
    expect(one.publisher.current()?.version).toBe(1);
    publications.outage = "none";
    await clock.advance(1_000);
    expect(publications.rows.map(({ version }) => version)).toEqual([1, 2, 3]);
    expect(one.publisher.current()).toMatchObject({ version: 3, digest: publications.newest?.digest });
    await one.publisher.close();
  });

  test("a table that was committed unknown to us is replaced, even when its reason has gone", async () => {
    const clock = new ManualClock(startMs);
    const publications = new Publications();
    const one = coordinator(publications, clock);
    one.live.add("a");
    await one.publisher.start();
    publications.outage = "after commit";
    one.live.add("b");
    await clock.advance(250);
    publications.outage = "none";
    one.live.delete("b");
    await clock.advance(1_000);
    expect(publications.rows.map(({ routes }) => routes.map(({ mcpId }) => mcpId))).toEqual([["a"], ["a", "b"], ["a"]]);
    expect(one.publisher.current()).toMatchObject({ version: 3, reason: "refresh" });
    await one.publisher.close();
  });

  test("at the start is waited out", async () => {
    const clock = new ManualClock(startMs);
    const publications = new Publications();
    publications.outage = "before commit";
    const one = coordinator(publications, clock);
    await one.publisher.start();
    await clock.advance(10_000);
    expect([one.publisher.role(), one.publisher.current()]).toEqual(["follower", undefined]);
    publications.outage = "none";
    await clock.advance(1_000);
    expect(one.publisher.role()).toBe("leader");
    await one.publisher.close();
  });
});

describe("a restart", () => {
  async function trained(clock: ManualClock, publications: Publications): Promise<Readonly<Record<string, number>>> {
    const before = coordinator(publications, clock, { holdsLead: async () => true });
    await before.publisher.start();
    await traffic(clock, before, { fast: 100, slow: 400 }, 90);
    await before.publisher.close();
    return sharesOf(before.publisher.current());
  }

  test("begins with the stored table, goes on counting, and keeps weights until MCPs speak for themselves", async () => {
    const clock = new ManualClock(startMs);
    const publications = new Publications();
    const shares = await trained(clock, publications);
    const version = publications.newest?.version ?? 0;
    const after = coordinator(publications, clock, { holdsLead: async () => true });
    await after.publisher.start();
    expect(after.seen.map((routes) => routes.reason)).toEqual([publications.rows[version - 1]?.reason, "initial"]);
    expect(after.publisher.current()).toMatchObject({ term: 2, version: version + 1 });
    await clock.advance(120_000);
    expect(sharesOf(after.publisher.current())).toEqual(shares);
    await traffic(clock, after, { fast: 400, slow: 400 }, 60);
    expect(sharesOf(after.publisher.current()).fast).toBeLessThan(5_300);
    await after.publisher.close();
  });

  test("after more than the validity starts afresh, but goes on counting", async () => {
    const clock = new ManualClock(startMs);
    const publications = new Publications();
    await trained(clock, publications);
    const version = publications.newest?.version ?? 0;
    await clock.advance(180_000);
    const after = coordinator(publications, clock, { holdsLead: async () => true });
    await after.publisher.start();
    expect(after.seen.map((routes) => [routes.version, routes.reason, routes.table.length])).toEqual([[version + 1, "initial", 0]]);
    await after.publisher.close();
  });

  test("does not put a stored table in force that does not match its digest", async () => {
    const clock = new ManualClock(startMs);
    const publications = new Publications();
    await trained(clock, publications);
    const last = publications.rows.pop();
    if (last !== undefined) publications.rows.push({ ...last, digest: "0123456789abcdef" });
    const after = coordinator(publications, clock);
    await after.publisher.start();
    expect(after.publisher.current()).toBeUndefined();
    await after.publisher.close();
  });
});

describe("two coordinators on one store", () => {
  test("the second follows, and has every table within a second", async () => {
    const clock = new ManualClock(startMs);
    const publications = new Publications();
    const [one, two] = [coordinator(publications, clock), coordinator(publications, clock)];
    await one.publisher.start();
    await two.publisher.start();
    one.live.add("a");
    await clock.advance(1_250);
    expect([one.publisher.role(), two.publisher.role()]).toEqual(["leader", "follower"]);
    expect(two.publisher.current()).toEqual(one.publisher.current());
    await clock.advance(600_000);
    expect(publications.claims).toBe(1);
    expect(two.seen).toEqual(one.seen);
    await one.publisher.close();
    await two.publisher.close();
  });

  test.each([0, 600_000])(
    "the second takes over 90 s after the first fell silent, and the first, whose clock is %i ms ahead, follows when it wakes up",
    async (aheadMs) => {
      const clock = new ManualClock(startMs);
      const publications = new Publications();
      let isCutOff = false;
      const cutOff = async <T>(ask: () => Promise<T>): Promise<T> => {
        if (isCutOff) throw new Error("no route to host");
        return ask();
      };
      const one = coordinator(publications, clock, {
        clock: aheadBy(clock, aheadMs),
        store: (publication) => cutOff(() => publications.store(publication)),
        readNewest: () => cutOff(publications.readNewest),
      });
      const two = coordinator(publications, clock);
      one.live.add("a");
      two.live.add("a");
      await one.publisher.start();
      await two.publisher.start();
      await clock.advance(1_000);
      isCutOff = true;
      await clock.advance(88_000);
      expect(two.publisher.role()).toBe("follower");
      await clock.advance(4_000);
      expect([one.publisher.role(), two.publisher.role()]).toEqual(["leader", "leader"]);
      isCutOff = false;
      await clock.advance(40_000);
      expect([one.publisher.role(), two.publisher.role()]).toEqual(["follower", "leader"]);
      await clock.advance(600_000);
      expect(publications.claims).toBe(2);
      expect(one.publisher.current()).toEqual(two.publisher.current());
      expect(publications.rows.every((row, index) => isNewer(row, publications.rows[index - 1]))).toBe(true);
      await one.publisher.close();
      await two.publisher.close();
    },
  );

  test("clocks that are minutes apart cost one hand-over at most", async () => {
    const clock = new ManualClock(startMs);
    const publications = new Publications();
    const [one, two] = [coordinator(publications, clock), coordinator(publications, clock, { clock: aheadBy(clock, 600_000) })];
    await one.publisher.start();
    await two.publisher.start();
    await clock.advance(601_500);
    expect([one.publisher.role(), two.publisher.role()]).toEqual(["follower", "leader"]);
    expect(publications.claims).toBe(2);
    expect(one.publisher.current()).toEqual(two.publisher.current());
    await one.publisher.close();
    await two.publisher.close();
  });
});
