import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { createIngest } from "../../../src/ingest/ingest.js";
import { createSharedTable } from "../../../src/intake/shared-table/poller.js";
import { limits } from "../../../src/platform/limits.js";
import { StoreFault } from "../../../src/store/store.js";
import type { SharedTableStore, TakeBounds, TakenRange } from "../../../src/store/waiting-reports.js";
import { readReport } from "../../../src/wire/report-body.js";
import { noonMs } from "../../support/draft.js";
import { GatedStore } from "../../support/gated-store.js";
import { ManualClock, turn } from "../../support/manual-clock.js";

const log = pino({ level: "silent" });
const nothing: TakenRange = { count: 0, lastId: "0", hasMore: false };

/** A poller over a table that the test answers for, call by call. */
function setUp() {
  const clock = new ManualClock(noonMs);
  const asked: TakeBounds[] = [];
  let answer: (bounds: TakeBounds) => Promise<TakenRange> = async () => nothing;
  const store: SharedTableStore = {
    takeReports: (bounds) => {
      asked.push(bounds);
      return answer(bounds);
    },
    readBacklog: async () => ({ waiting: 7, oldestMs: 1_500 }),
  };
  const gated = new GatedStore();
  const ingest = createIngest({
    store: { laneCount: 1, append: gated.append, setAside: gated.setAside },
    pseudonym: (userId) => userId,
    maxClockSkewMs: 1,
    dedupeHorizonMs: 1,
    clock,
    rng: () => 1,
    log,
  });
  const transport = createSharedTable({ store, ingest, read: readReport, clock, rng: () => 1, log }, { intervalMs: 5_000, batch: 1_000 });
  return {
    clock,
    asked,
    transport,
    answerWith: (next: typeof answer): void => {
      answer = next;
    },
  };
}

describe("the poller of the shared table", () => {
  it("looks at once when it starts, and then every interval, always from the oldest row", async () => {
    const { clock, asked, transport } = setUp();
    transport.start();
    await clock.advance(0);
    await turn();
    expect(asked).toMatchObject([{ afterId: "0", maxRows: 1_000, maxBytes: limits.tableBatchMaxBytes }]);
    await clock.advance(4_999);
    await turn();
    expect(asked).toHaveLength(1);
    await clock.advance(1);
    await turn();
    expect(asked).toHaveLength(2);
    expect(transport.figures()).toMatchObject({ name: "table", state: "up", depth: 7, lagMs: 1_500 });
  });

  it("takes the next batch behind the last at once while more wait", async () => {
    const { clock, asked, transport, answerWith } = setUp();
    answerWith(async ({ afterId }) => (afterId === "30" ? nothing : { count: 0, lastId: `${Number(afterId) + 10}`, hasMore: true }));
    transport.start();
    await clock.advance(0);
    await turn();
    expect(asked.map(({ afterId }) => afterId)).toEqual(["0", "10", "20", "30"]);
  });

  it("is down while the store is, asks for less each time, and for more again afterwards", async () => {
    const { clock, asked, transport, answerWith } = setUp();
    answerWith(async () => {
      throw new StoreFault("outage", "ECONNREFUSED", "connection refused");
    });
    transport.start();
    await clock.advance(0);
    await turn();
    expect(transport.figures()).toMatchObject({ state: "down", detail: "connection refused", depth: undefined, lagMs: undefined });
    for (let failures = 1; failures < 14; failures += 1) {
      await clock.advance(limits.storeBackoff.maxMs);
      await turn();
    }
    expect([...new Set(asked.map(({ maxRows }) => maxRows))]).toEqual([1_000, 500, 250, 125, 62, 31, 15, 7, 3, 1]);
    answerWith(async () => nothing);
    await clock.advance(limits.storeBackoff.maxMs);
    await turn();
    expect(transport.figures()).toMatchObject({ state: "up", detail: "", depth: 7 });
    await clock.advance(5_000);
    await turn();
    expect(asked.at(-1)).toMatchObject({ maxRows: 2 });
  });

  it("a drain waits for the batch under way, and takes nothing more", async () => {
    const { clock, asked, transport, answerWith } = setUp();
    let answer = (_: TakenRange): void => {};
    answerWith(
      () =>
        new Promise((resolve) => {
          answer = resolve;
        }),
    );
    transport.start();
    await clock.advance(0);
    await turn();
    let isDrained = false;
    const drained = transport.drain(1_000).then(() => {
      isDrained = true;
    });
    await turn();
    expect(isDrained).toBe(false);
    answer({ count: 0, lastId: "5", hasMore: true });
    await drained;
    await clock.advance(60_000);
    await turn();
    expect(asked).toHaveLength(1);
  });

  it("a drain does not wait longer than it was given", async () => {
    const { clock, transport, answerWith } = setUp();
    answerWith(() => new Promise(() => {}));
    transport.start();
    await clock.advance(0);
    await turn();
    const drained = transport.drain(1_000);
    await clock.advance(1_000);
    await drained;
    expect(transport.figures()).toMatchObject({ received: 0 });
  });
});
