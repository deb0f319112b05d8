import fc from "fast-check";
import { pino } from "pino";
import { describe, expect, test } from "vitest";
import { limits } from "../../../src/platform/limits.js";
import { ConfigAckLog } from "../../../src/registry/config-acks.js";
import type { McpConfigAck } from "../../../src/store/registry-rows.js";
import { StoreFault } from "../../../src/store/store.js";
import { ManualClock, turn } from "../../support/manual-clock.js";

const ackOf = (producerId: string, version: number): McpConfigAck => ({
  mcpId: "m",
  producerId,
  version,
  status: "applied",
  detail: "",
  ackedAtMs: 0,
});
const told = (acks: readonly McpConfigAck[]) => acks.map(({ producerId, version }) => `${producerId}${version}`);

type Call = { readonly acks: readonly string[]; readonly answer: (error?: Error) => void };

/** A log whose store answers when the test says so. */
function gated() {
  const clock = new ManualClock(0);
  const calls: Call[] = [];
  const record = (acks: readonly McpConfigAck[]): Promise<void> =>
    new Promise((resolve, reject) =>
      calls.push({ acks: told(acks), answer: (error) => (error === undefined ? resolve() : reject(error)) }),
    );
  return { clock, calls, log: new ConfigAckLog({ record, clock, log: pino({ level: "silent" }) }) };
}

const outage = new StoreFault("outage", "ECONNREFUSED", "no store");

describe("the log of answers about configurations", () => {
  test("stores the newest of each producer, at most once a second", async () => {
    const { clock, calls, log } = gated();
    for (const ack of [ackOf("p", 1), ackOf("q", 1), ackOf("p", 2)]) log.add(ack);
    await clock.advance(limits.routingAckFlushMs - 1);
    expect(calls).toEqual([]);
    await clock.advance(1);
    expect(calls.map(({ acks }) => acks)).toEqual([["q1", "p2"]]);
    calls[0]?.answer();
    await clock.advance(10 * limits.routingAckFlushMs);
    expect(calls).toHaveLength(1);
    expect(clock.timerCount).toBe(0);
  });

  test("tries again by itself what the store did not take, and what came meanwhile is newer", async () => {
    const { clock, calls, log } = gated();
    for (const ack of [ackOf("p", 1), ackOf("q", 1)]) log.add(ack);
    await clock.advance(limits.routingAckFlushMs);
    log.add(ackOf("p", 2));
    calls[0]?.answer(outage);
    await turn();
    await clock.advance(limits.routingAckFlushMs);
    expect(calls.map(({ acks }) => acks)).toEqual([
      ["p1", "q1"],
      ["q1", "p2"],
    ]);
  });

  test("writes what waits when it closes, after what is under way, and does not go on after a failure then", async () => {
    const { clock, calls, log } = gated();
    log.add(ackOf("p", 1));
    await clock.advance(limits.routingAckFlushMs);
    log.add(ackOf("q", 1));
    const closed = log.close();
    await turn();
    expect(calls).toHaveLength(1);
    calls[0]?.answer();
    await turn();
    expect(calls.map(({ acks }) => acks)).toEqual([["p1"], ["q1"]]);
    calls[1]?.answer(outage);
    await closed;
    expect(clock.timerCount).toBe(0);
  });

  test("drops an answer that the store will never take, and writes down those of the others", async () => {
    const clock = new ManualClock(0);
    const stored: string[] = [];
    const record = async (acks: readonly McpConfigAck[]): Promise<void> => {
      if (acks.some(({ producerId }) => producerId === "odd")) throw new StoreFault("poison", "22P05", "refused");
      stored.push(...told(acks));
    };
    const log = new ConfigAckLog({ record, clock, log: pino({ level: "silent" }) });
    for (const producerId of ["a", "odd", "b", "c"]) log.add(ackOf(producerId, 1));
    await clock.advance(limits.routingAckFlushMs);
    expect(stored).toEqual(["a1", "b1", "c1"]);
    log.add(ackOf("d", 1));
    await clock.advance(limits.routingAckFlushMs);
    expect(stored).toEqual(["a1", "b1", "c1", "d1"]);
    expect(clock.timerCount).toBe(0);
  });

  test("drops the oldest above its bound", async () => {
    const { clock, calls, log } = gated();
    for (let index = 0; index < limits.mcpConfigAckBufferMax + 3; index += 1) log.add(ackOf(`p${index}-`, 1));
    await clock.advance(limits.routingAckFlushMs);
    expect(calls[0]?.acks).toHaveLength(limits.mcpConfigAckBufferMax);
    expect(calls[0]?.acks[0]).toBe("p3-1");
  });

  test("has stored the newest of everyone in the end, however often the store fails in between", async () => {
    const step = fc.record({ producer: fc.constantFrom("p", "q", "r"), waitMs: fc.integer({ min: 0, max: 1_500 }), fails: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const { clock, calls, log } = gated();
        const stored = new Map<string, string>();
        let answered = 0;
        const answerAll = async (fails: boolean): Promise<void> => {
          for (; answered < calls.length; answered += 1) {
            const call = calls[answered];
            if (!fails) for (const ack of call?.acks ?? []) stored.set(ack.charAt(0), ack);
            call?.answer(fails ? outage : undefined);
            await turn();
          }
        };
        const newest = new Map<string, string>();
        for (const [version, { producer, waitMs, fails }] of steps.entries()) {
          log.add(ackOf(producer, version));
          newest.set(producer, `${producer}${version}`);
          await clock.advance(waitMs);
          await answerAll(fails);
        }
        await clock.advance(limits.routingAckFlushMs);
        await answerAll(false);
        await clock.advance(limits.routingAckFlushMs);
        await answerAll(false);
        expect([...stored].sort()).toEqual([...newest].sort());
      }),
      { numRuns: 40 },
    );
  });
});
