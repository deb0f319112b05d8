import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { createReporter, type Reporter } from "../../src/client/index.js";
import { openSpool } from "../../src/client/spool/open-spool.js";
import type { OutgoingEvent, Settlement } from "../../src/client/transports/transport.js";
import type { WayOut } from "../../src/client/ways.js";
import { limits } from "../../src/platform/limits.js";
import { ManualClock } from "../support/manual-clock.js";

const root = mkdtempSync(join(tmpdir(), "mcpc-takeover-"));
let made = 0;
const reporters: Reporter[] = [];
afterEach(async () => {
  for (const reporter of reporters.splice(0)) await reporter.close();
  rmSync(root, { recursive: true, force: true });
});

/** A way out that is down until it is told otherwise, and then takes and stores everything. */
function gate() {
  const offered: OutgoingEvent[] = [];
  let isUp = false;
  let told: { onSettled: (settlement: Settlement) => void; onChange: () => void } | undefined;
  const out: WayOut = {
    name: "http",
    open: async (events) => {
      told = events;
      return {
        name: "http",
        health: () => (isUp ? { state: "up", why: "" } : { state: "down", why: "is shut" }),
        offer: (batch) => {
          offered.push(...batch);
          for (const { eventId } of batch) setImmediate(() => events.onSettled({ eventId, outcome: "stored", reason: "" }));
          return batch.length;
        },
        probe: async () => undefined,
        stop: async () => undefined,
      };
    },
  };
  const open = (): void => {
    isUp = true;
    told?.onChange();
  };
  return { out, open, offered };
}

function start(directory: string, clock: ManualClock, outs: readonly WayOut[]): Reporter {
  const options = {
    mcpId: "ocr",
    coordinatorUrl: "http://127.0.0.1:1",
    transport: "http",
    localCachePath: directory,
    closeMaxMs: 0,
  } as const;
  const reporter = createReporter(options, { clock, outs });
  reporters.push(reporter);
  return reporter;
}

/** A spool that a process on another host held a moment ago, and that has an event of it. */
async function heldElsewhere(clock: ManualClock): Promise<string> {
  const directory = join(root, `spool-${++made}`);
  const before = openSpool({ directory, clock });
  before.put("left-behind", "start", new Uint8Array());
  await before.close();
  writeFileSync(join(directory, "lock"), JSON.stringify({ pid: 1, host: "elsewhere", startedAt: "boot 1", opening: "x" }));
  return directory;
}

const spoolOf = (reporter: Reporter) => [reporter.state.spool.kind, reporter.state.spool.events];

test("a spool whose holder has died on another host is taken when it is free, and what was in memory is on disk then", async () => {
  const clock = new ManualClock(Date.now());
  const directory = await heldElsewhere(clock);
  const { out } = gate();
  const reporter = start(directory, clock, [out]);
  reporter.reportStart("in-memory");
  reporter.reportComplete("in-memory", { success: true });
  await expect.poll(() => spoolOf(reporter)).toEqual(["memory", 2]);
  await clock.advance(limits.spoolHolderGoneMs / 2);
  expect(spoolOf(reporter)).toEqual(["memory", 2]);
  await clock.advance(limits.spoolHolderGoneMs);
  await expect.poll(() => spoolOf(reporter)).toEqual(["disk", 3]);
  reporter.reportStart("on-disk");
  await reporter.durable();
  expect(reporter.state.spool.events).toBe(4);
  // As the next process would find it: everything, in order, once.
  await reporter.close();
  const next = openSpool({ directory, clock });
  const found = next.readAfter(0, 10).map(({ eventId, event }) => (eventId === "left-behind" ? eventId : event.interactionId));
  expect(found).toEqual(["left-behind", "in-memory", "in-memory", "on-disk"]);
  await next.close();
});

test("events that were in memory when the spool was taken are sent once, and leave the disk with their verdict", async () => {
  const clock = new ManualClock(Date.now());
  const directory = await heldElsewhere(clock);
  const { out, open, offered } = gate();
  const reporter = start(directory, clock, [out]);
  for (let i = 0; i < 1_200; i += 1) reporter.reportStart(`i-${i}`);
  await expect.poll(() => spoolOf(reporter)).toEqual(["memory", 1_200]);
  await clock.advance(limits.spoolHolderGoneMs + limits.spoolOpenRetryMs);
  await expect.poll(() => spoolOf(reporter)).toEqual(["disk", 1_201]);
  open();
  await expect.poll(() => reporter.state.counters.stored).toBe(1_201);
  await reporter.durable();
  expect(new Set(offered.map(({ eventId }) => eventId)).size).toBe(1_201);
  expect(offered).toHaveLength(1_201);
  expect(reporter.state).toMatchObject({ counters: { duplicate: 0 }, spool: { events: 0, bytes: 0, setAside: 0 } });
  await reporter.close();
  const next = openSpool({ directory, clock });
  expect(next.count()).toBe(0);
  await next.close();
});
