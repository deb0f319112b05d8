import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { limits } from "../../../src/platform/limits.js";
import { ConfigAckLog } from "../../../src/registry/config-acks.js";
import type { McpConfigAck } from "../../../src/store/registry-rows.js";
import { StoreFault, type StoreFaultKind } from "../../../src/store/store.js";
import { ManualClock } from "../../support/manual-clock.js";

const ackOf = (mcpId: string): McpConfigAck => ({ mcpId, producerId: "p", version: 2, status: "applied", detail: "", ackedAtMs: 1 });

/** A log over a store that fails while `faultOf` says how. */
function openLog(faultOf: (acks: readonly McpConfigAck[]) => StoreFaultKind | undefined) {
  const clock = new ManualClock(1_000_000);
  const recorded: string[] = [];
  const record = async (acks: readonly McpConfigAck[]) => {
    const kind = faultOf(acks);
    if (kind !== undefined) throw new StoreFault(kind, kind === "poison" ? "22P05" : "ECONNREFUSED", "refused");
    recorded.push(...acks.map(({ mcpId }) => mcpId));
  };
  return { clock, recorded, log: new ConfigAckLog({ record, clock, log: pino({ level: "silent" }) }) };
}

describe("the log of who runs which configuration", () => {
  it("drops an answer that the store will never take, and writes down those of the others", async () => {
    const { clock, recorded, log } = openLog((acks) => (acks.some(({ mcpId }) => mcpId === "odd") ? "poison" : undefined));
    for (const mcpId of ["a", "odd", "b", "c"]) log.add(ackOf(mcpId));
    await clock.advance(limits.routingAckFlushMs);
    expect(recorded).toEqual(["a", "b", "c"]);
    log.add(ackOf("d"));
    await clock.advance(limits.routingAckFlushMs);
    expect(recorded).toEqual(["a", "b", "c", "d"]);
    expect(clock.timerCount).toBe(0);
  });

  it("writes down what waited for the store when it is back, though nobody answers any more", async () => {
    let isAway = true;
    const { clock, recorded, log } = openLog(() => (isAway ? "outage" : undefined));
    log.add(ackOf("a"));
    await clock.advance(limits.routingAckFlushMs);
    expect(recorded).toEqual([]);
    isAway = false;
    await clock.advance(limits.routingAckFlushMs);
    expect(recorded).toEqual(["a"]);
    await log.close();
    expect(clock.timerCount).toBe(0);
  });
});
