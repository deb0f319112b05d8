import { pino } from "pino";
import { describe, expect, test } from "vitest";
import { createExchange, type Exchange } from "../../../src/smart-router/exchange.js";
import { ForeignAudits } from "../../../src/smart-router/foreign-audits.js";
import type { ForeignEnd } from "../../../src/smart-router/foreign-ends.js";
import type { HeldMcp, RemoteMcp, WrittenDigest } from "../../../src/smart-router/peers.js";
import { plainRequest } from "../../../src/smart-router/request.js";
import type { LearntAudit } from "../../../src/smart-router/router.js";
import { createSignalBook, type LocalSignalBook } from "../../../src/smart-router/signals/book.js";
import { memoryFormat, parseMemory, renderMemory } from "../../../src/smart-router/signals/memory-text.js";
import { endedWith } from "../../support/ended.js";
import { ManualClock } from "../../support/manual-clock.js";

const request = { ...plainRequest, requestType: "ocr" };
const log = pino({ level: "silent" });

/** Two tables with the rules of the store, at the pace of one clock. */
class Tables {
  readonly digests = new Map<string, WrittenDigest & { readonly atMs: number }>();
  readonly states = new Map<string, { readonly format: number; readonly body: string; readonly atMs: number }>();
  isDown = false;
  readonly #clock: ManualClock;

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  functions() {
    const now = () => this.#clock.monotonicMs();
    const reach = () => {
      if (this.isDown) throw new Error("no store");
    };
    return {
      exchangeDigests: async (own: WrittenDigest, maxAgeMs: number) => {
        reach();
        this.digests.set(own.coordinatorId, { ...own, atMs: now() });
        return [...this.digests.values()]
          .filter(({ coordinatorId, atMs }) => coordinatorId !== own.coordinatorId && now() - atMs < maxAgeMs)
          .map((row) => ({ ...row, ageMs: now() - row.atMs }));
      },
      withdrawDigest: async (coordinatorId: string) => {
        reach();
        this.digests.delete(coordinatorId);
      },
      saveRouterState: async ({ coordinatorId, format, body }: { coordinatorId: string; format: number; body: string }) => {
        reach();
        this.states.set(coordinatorId, { format, body, atMs: now() });
      },
      readRouterStates: async () => {
        reach();
        return [...this.states].map(([coordinatorId, state]) => ({ coordinatorId, ...state, ageMs: now() - state.atMs }));
      },
    };
  }
}

type Peer = {
  readonly book: LocalSignalBook;
  readonly exchange: Exchange;
  held: HeldMcp[];
  elsewhere: readonly RemoteMcp[];
  ends: ForeignEnd[];
  readonly audits: ForeignAudits;
  readonly learnt: LearntAudit[];
  readonly heardEnds: { readonly end: ForeignEnd; readonly writtenAtMs: number }[];
};

function peerOf(tables: Tables, clock: ManualClock, coordinatorId: string, isAlone = false): Peer {
  const book = createSignalBook();
  const learnt: LearntAudit[] = [];
  const audits = new ForeignAudits({ learn: (audit) => learnt.push(audit) > 0, lost: () => {} });
  const peer: Peer = {
    book,
    audits,
    learnt,
    held: [],
    elsewhere: [],
    ends: [],
    heardEnds: [],
    exchange: createExchange({
      ...tables.functions(),
      isAlone,
      book,
      held: () => peer.held,
      elsewhere: (mcps) => {
        peer.elsewhere = mcps;
      },
      audits,
      foreignEnds: () => peer.ends,
      ended: (ends, writtenAtMs) => peer.heardEnds.push(...ends.map((end) => ({ end, writtenAtMs }))),
      coordinatorId,
      runId: `run of ${coordinatorId} at ${clock.nowMs()}`,
      clock,
      log,
    }),
  };
  return peer;
}

let ends = 0;
function slow(book: LocalSignalBook, mcpId: string, atMs: number, tookMs: number): void {
  for (let index = 0; index < 10; index += 1) {
    ends += 1;
    book.ended(endedWith({ decisionId: `e${ends}`, mcpId, request, startedAtMs: atMs - tookMs, endedAtMs: atMs }));
  }
}

describe("two coordinators on one store", () => {
  test("know the MCPs of both, with the age of what they know", async () => {
    const clock = new ManualClock(1_000_000);
    const tables = new Tables(clock);
    const [a, b] = [peerOf(tables, clock, "a"), peerOf(tables, clock, "b")];
    a.held = [{ mcpId: "on-a", inFlight: 3 }];
    slow(a.book, "on-a", 0, 400);
    await a.exchange.start();
    await clock.advance(300);
    await b.exchange.start();
    expect(b.elsewhere).toEqual([{ mcpId: "on-a", inFlight: 3, health: "well", isSuspect: false, coordinatorId: "a", ageMs: 300 }]);
    expect(b.book.read("on-a", request, 0, clock.monotonicMs())).toMatchObject({ latencyMs: 400, latencyFrom: "near", ageMs: 300 });
    expect(a.book.read("on-a", request, 0, clock.monotonicMs()).ageMs).toBeUndefined();
  });

  test("lose sight of MCPs ten seconds after the last word of a coordinator that was killed, and at once of one that left", async () => {
    const clock = new ManualClock(1_000_000);
    const tables = new Tables(clock);
    const [a, b] = [peerOf(tables, clock, "a"), peerOf(tables, clock, "b")];
    a.held = [{ mcpId: "on-a", inFlight: 0 }];
    await a.exchange.start();
    await a.exchange.close();
    tables.digests.set("killed", {
      coordinatorId: "killed",
      runId: "r",
      seq: 1,
      format: memoryFormat,
      body: renderMemory(a.book, [{ mcpId: "on-killed", inFlight: 0 }], 0, 8, 1e6).text,
      atMs: clock.monotonicMs(),
    });
    await b.exchange.start();
    expect(b.elsewhere.map(({ mcpId }) => mcpId)).toEqual(["on-killed"]);
    await clock.advance(9_500);
    expect(b.elsewhere).toHaveLength(1);
    await clock.advance(2_000);
    expect(b.elsewhere).toEqual([]);
    expect(b.exchange.figures()).toMatchObject({ peers: 0, failures: 0 });
  });

  test("tell each other who is shut out, degraded or suspect, and that it is over", async () => {
    const clock = new ManualClock(1_000_000);
    const tables = new Tables(clock);
    const [a, b] = [peerOf(tables, clock, "a"), peerOf(tables, clock, "b")];
    a.held = [
      { mcpId: "ejected", inFlight: 0, health: "ejected" },
      { mcpId: "probing", inFlight: 0, health: "probing" },
      { mcpId: "slow", inFlight: 0, health: "degraded", isSuspect: true },
      { mcpId: "starting", inFlight: 0, health: "warming" },
      { mcpId: "well", inFlight: 0 },
    ];
    await a.exchange.start();
    await b.exchange.start();
    const told = () => b.elsewhere.map(({ mcpId, health, isSuspect }) => [mcpId, health, isSuspect]);
    expect(told()).toEqual([
      ["ejected", "shut_out", false],
      ["probing", "shut_out", false],
      ["slow", "degraded", true],
      ["starting", "starting", false],
      ["well", "well", false],
    ]);
    a.held = a.held.map(({ mcpId, inFlight }) => ({ mcpId, inFlight }));
    await clock.advance(2_000);
    expect(told().map(([, ...rest]) => rest)).toEqual(Array.from({ length: 5 }, () => ["well", false]));
  });

  test.each([
    ["does not know of health", { health: undefined, isSuspect: undefined }, "well"],
    ["knows of states that are not known here, and of more", { health: "quarantined", isSuspect: 1, sentence: { ms: 5 } }, "well"],
    ["knows more of an MCP that it has shut out", { health: "ejected", sentence: { ms: 5 } }, "shut_out"],
  ])("understand each other when one of them %s", async (_, fields, health) => {
    const clock = new ManualClock(1_000_000);
    const tables = new Tables(clock);
    const b = peerOf(tables, clock, "b");
    const memory = parseMemory(renderMemory(b.book, [{ mcpId: "m", inFlight: 2 }], 0, 8, 1e6).text);
    const body = JSON.stringify({ ...memory, mcps: memory?.mcps.map((mcp) => ({ ...mcp, ...fields })), hints: [] });
    tables.digests.set("a", { coordinatorId: "a", runId: "r", seq: 1, format: memoryFormat, body, atMs: 0 });
    await b.exchange.start();
    expect(b.elsewhere).toEqual([{ mcpId: "m", inFlight: 2, health, isSuspect: false, coordinatorId: "a", ageMs: 0 }]);
  });

  test("agree on one place when a stream moves", async () => {
    const clock = new ManualClock(1_000_000);
    const tables = new Tables(clock);
    const [a, b] = [peerOf(tables, clock, "a"), peerOf(tables, clock, "b")];
    a.held = [{ mcpId: "m", inFlight: 1 }];
    slow(a.book, "m", 0, 700);
    await a.exchange.start();
    await b.exchange.start();
    expect(b.elsewhere).toHaveLength(1);
    a.held = [];
    b.held = [{ mcpId: "m", inFlight: 0 }];
    await clock.advance(1_000);
    expect(b.elsewhere).toEqual([]);
    const moved = b.book.read("m", request, 0, clock.monotonicMs());
    expect(moved).toMatchObject({ latencyMs: 700, ageMs: undefined });
    slow(b.book, "m", clock.monotonicMs(), 90);
    await clock.advance(2_000);
    expect(a.elsewhere).toMatchObject([{ mcpId: "m", coordinatorId: "b" }]);
    expect(a.book.read("m", request, 0, clock.monotonicMs()).latencyMs).toBe(90);
  });

  test("tell each other how requests ended that the other one had decided", async () => {
    const clock = new ManualClock(1_000_000);
    const tables = new Tables(clock);
    const [a, b] = [peerOf(tables, clock, "a"), peerOf(tables, clock, "b")];
    const end = { decisionId: "d", mcpId: "m", success: false, errorCode: "TIMEOUT" };
    a.ends = [end];
    const writtenAtMs = clock.monotonicMs();
    await a.exchange.start();
    await clock.advance(700);
    await b.exchange.start();
    expect(b.heardEnds).toEqual([{ end, writtenAtMs }]);
  });

  test("tell the one that holds an MCP's stream what was audited at the other, once, and no program is confused that knows nothing of audits", async () => {
    const clock = new ManualClock(1_000_000);
    const tables = new Tables(clock);
    const [a, b] = [peerOf(tables, clock, "a"), peerOf(tables, clock, "b")];
    b.held = [{ mcpId: "m", inFlight: 0 }];
    const audit = { decisionId: "d", mcpId: "m", request, quality: 0.25, atMs: clock.monotonicMs() };
    a.audits.add(audit);
    await a.exchange.start();
    await b.exchange.start();
    await clock.advance(30_000);
    expect([a.learnt, b.learnt]).toEqual([[], [audit]]);
    const digest = tables.digests.get("a");
    const { audits: _, learned: __, ...older } = JSON.parse(digest?.body ?? "");
    expect(parseMemory(JSON.stringify(older))).toMatchObject({ audits: [], learned: [] });
    expect(parseMemory(JSON.stringify({ ...older, audits: [{ decisionId: "d", mcpId: "m", quality: "1" }] }))).toBeUndefined();
  });

  test("go on with what they know while the store is away", async () => {
    const clock = new ManualClock(1_000_000);
    const tables = new Tables(clock);
    const [a, b] = [peerOf(tables, clock, "a"), peerOf(tables, clock, "b")];
    a.held = [{ mcpId: "on-a", inFlight: 0 }];
    await a.exchange.start();
    await b.exchange.start();
    tables.isDown = true;
    await clock.advance(5_000);
    expect(b.elsewhere).toMatchObject([{ mcpId: "on-a" }]);
    expect(b.elsewhere[0]?.ageMs).toBeGreaterThanOrEqual(5_000);
    expect(b.exchange.figures().failures).toBeGreaterThan(0);
    await clock.advance(6_000);
    expect(b.elsewhere).toEqual([]);
    tables.isDown = false;
    await clock.advance(2_000);
    expect(b.elsewhere).toMatchObject([{ mcpId: "on-a" }]);
  });
});

test("a coordinator that is killed knows after its restart what it knew up to ten seconds before", async () => {
  const clock = new ManualClock(1_000_000);
  const tables = new Tables(clock);
  const before = peerOf(tables, clock, "a", true);
  await before.exchange.start();
  slow(before.book, "m", 0, 250);
  await clock.advance(11_000);
  slow(before.book, "lost", clock.monotonicMs(), 250);
  const after = peerOf(tables, clock, "a", true);
  await after.exchange.start();
  expect(after.exchange.figures().restoredMcps).toBe(1);
  expect(after.book.read("m", request, 0, clock.monotonicMs())).toMatchObject({ latencyMs: 250, latencyFrom: "near", ageMs: undefined });
  expect(after.book.read("lost", request, 0, clock.monotonicMs()).latencyFrom).toBe("prior");
  expect(tables.digests.size).toBe(0);
});

test.each([
  ["of another version", memoryFormat + 1, JSON.stringify({ mcps: [], shared: {}, ends: [] })],
  ["that is no JSON", memoryFormat, "{"],
  ["of another shape", memoryFormat, JSON.stringify({ mcps: [{ mcpId: 7 }], shared: { products: [], targets: [] } })],
])("a memory %s is ignored, and the coordinator starts without", async (_, format, body) => {
  const clock = new ManualClock(1_000_000);
  const tables = new Tables(clock);
  tables.states.set("a", { format, body, atMs: 0 });
  tables.digests.set("b", { coordinatorId: "b", runId: "r", seq: 1, format, body, atMs: 0 });
  const peer = peerOf(tables, clock, "a");
  await peer.exchange.start();
  expect(peer.elsewhere).toEqual([]);
  expect(peer.exchange.figures()).toMatchObject({ restoredMcps: 0, exchanges: 1, failures: 0 });
});

test("a digest that would be too large tells less of each MCP, and always who is there", () => {
  const book = createSignalBook();
  const held = Array.from({ length: 50 }, (_, index) => ({ mcpId: `m${index}`, inFlight: index }));
  for (const { mcpId } of held) for (let at = 0; at < 3; at += 1) slow(book, mcpId, at * 1_000 + 100, 50 + at * 10);
  const full = renderMemory(book, held, 5_000, 8, 1e7);
  expect(parseMemory(full.text)?.mcps[7]).toMatchObject({ mcpId: "m7", inFlight: 7 });
  for (const share of [0.5, 0.05]) {
    const maxBytes = Math.floor(Buffer.byteLength(full.text) * share);
    const cut = renderMemory(book, held, 5_000, 8, maxBytes).text;
    expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(Math.max(maxBytes, 12_000));
    expect(parseMemory(cut)?.mcps).toHaveLength(50);
    expect(parseMemory(cut)?.mcps[7]).toMatchObject({ mcpId: "m7", inFlight: 7 });
  }
});
