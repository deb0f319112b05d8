import { pino } from "pino";
import { describe, expect, test } from "vitest";
import { limits } from "../../../src/platform/limits.js";
import { type AckRow, ackRow, createAckLog } from "../../../src/smart-router/acks.js";
import type { AckedTable, RoutingAck } from "../../../src/smart-router/table.js";
import { ManualClock } from "../../support/manual-clock.js";

const applied: RoutingAck = {
  nonce: "1",
  status: "applied",
  applied: { term: 1, version: 7, digest: "00000000000000ff" },
  rejected: [],
  applyTimeMs: 1,
};
const answered = { term: 1, version: 8, digest: "00000000000000aa" };
const acked = (producerId: string, ack: RoutingAck): AckedTable => ({ producerId, mcpId: "m", ack, answered, ackDelayMs: 3 });
const rowOf = (producerId: string, version = 7): AckRow => ({ ...ackRow(acked(producerId, applied), 0), version });

type Call = { readonly acks: readonly AckRow[]; readonly answer: (error?: Error) => void };

/** A log whose store answers when the test says so. */
function gated() {
  const clock = new ManualClock(0);
  const calls: Call[] = [];
  const record = (acks: readonly AckRow[]): Promise<void> =>
    new Promise((resolve, reject) => calls.push({ acks, answer: (error) => (error === undefined ? resolve() : reject(error)) }));
  return { clock, calls, log: createAckLog({ record, clock, log: pino({ level: "silent" }) }) };
}

describe("the log of routing acks", () => {
  test("stores at most once a second, and every ack", async () => {
    const { clock, calls, log } = gated();
    log.add(rowOf("p", 1));
    log.add(rowOf("q", 1));
    log.add(rowOf("p", 2));
    await clock.advance(999);
    expect(calls).toHaveLength(0);
    await clock.advance(1);
    expect(calls.map(({ acks }) => acks.map(({ producerId, version }) => [producerId, version]))).toEqual([
      [
        ["p", 1],
        ["q", 1],
        ["p", 2],
      ],
    ]);
    expect(log.lostCount()).toBe(0);
  });

  test("stores a table that was rejected for its content at once: other coordinators must not send it either", async () => {
    const { clock, calls, log } = gated();
    log.add(rowOf("p"));
    log.add({ ...rowOf("q"), rejection: "content" });
    await clock.advance(0);
    expect(calls.map(({ acks }) => acks.length)).toEqual([2]);
  });

  test("asks a slow store nothing more until it has answered", async () => {
    const { clock, calls, log } = gated();
    log.add(rowOf("p", 1));
    await clock.advance(1_000);
    log.add(rowOf("p", 2));
    await clock.advance(30_000);
    expect(calls).toHaveLength(1);
    calls[0]?.answer();
    await clock.advance(0);
    await clock.advance(1_000);
    expect(calls[1]?.acks).toEqual([rowOf("p", 2)]);
  });

  test("loses and counts what the store does not take, and goes on", async () => {
    const { clock, calls, log } = gated();
    log.add(rowOf("p"));
    log.add(rowOf("q"));
    await clock.advance(1_000);
    calls[0]?.answer(new Error("connection terminated"));
    await clock.advance(0);
    expect(log.lostCount()).toBe(2);
    log.add(rowOf("r"));
    await clock.advance(1_000);
    expect(calls[1]?.acks).toEqual([rowOf("r")]);
  });

  test("holds at most its bound and loses the oldest", async () => {
    const { log, calls, clock } = gated();
    for (let index = 0; index < limits.routingAckBufferMax + 3; index += 1) log.add(rowOf(`p${index}`));
    expect(log.lostCount()).toBe(3);
    await clock.advance(1_000);
    expect(calls[0]?.acks).toHaveLength(limits.routingAckBatchMax);
    expect(calls[0]?.acks[0]?.producerId).toBe("p3");
  });

  test("stores what waits before it is closed; a later ack is lost and counted", async () => {
    const { log, calls, clock } = gated();
    log.add(rowOf("p"));
    let isClosed = false;
    const closing = log.close().then(() => {
      isClosed = true;
    });
    await clock.advance(0);
    expect([calls.length, isClosed]).toEqual([1, false]);
    calls[0]?.answer();
    await closing;
    log.add(rowOf("late"));
    expect(log.lostCount()).toBe(1);
    expect(clock.timerCount).toBe(0);
  });
});

describe("the row of an ack", () => {
  test("names the table in force, and each refused target", () => {
    const rejected = [
      { mcpId: "a", reason: "unknown host" },
      { mcpId: "", reason: "digest differs" },
    ];
    expect(ackRow(acked("p", { ...applied, status: "rejected", rejected, rejection: "content" }), 5)).toEqual({
      ...{ producerId: "p", mcpId: "m", status: "rejected", term: 1, version: 7, digest: "00000000000000ff", ackedAtMs: 5 },
      detail: "a: unknown host; digest differs",
      ...{ answered, rejection: "content", verdicts: rejected, applyTimeMs: 1, ackDelayMs: 3 },
    });
  });

  test("has zeros when nothing is in force", () => {
    expect(ackRow(acked("p", { ...applied, status: "expired", applied: undefined }), 5)).toMatchObject({
      term: 0,
      version: 0,
      digest: "0000000000000000",
    });
  });

  test("keeps as many reasons as fit, none cut in half", () => {
    const rejected = Array.from({ length: limits.routeVerdictMax }, (_, index) => ({ mcpId: `mcp-${index}`, reason: "x".repeat(256) }));
    const { detail } = ackRow(acked("p", { ...applied, rejected }), 5);
    expect(detail.length).toBeLessThanOrEqual(limits.routingAckDetailMaxChars);
    expect(detail.split("; ").every((verdict) => verdict.endsWith("x".repeat(256)))).toBe(true);
  });
});
