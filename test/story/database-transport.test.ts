import postgres, { type Sql } from "postgres";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { createDatabaseTransport } from "../../src/client/transports/database.js";
import type { OutgoingEvent, Settlement, Transport } from "../../src/client/transports/transport.js";
import { systemClock } from "../../src/platform/clock.js";
import { limits } from "../../src/platform/limits.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { startCoordinatorProcess } from "../support/coordinator.js";
import { makeEvent } from "../support/make-event.js";
import { freshName } from "../support/new-event.js";
import { postgresSkipReason, type RunningPostgres, startPostgres } from "../support/postgres.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

const skip = postgresSkipReason();
const until = (holds: () => boolean | Promise<boolean>): Promise<unknown> => vi.waitUntil(holds, { timeout: 120_000, interval: 20 });

type Running = { readonly transport: Transport; readonly settled: Settlement[]; readonly states: string[] };

describe.skipIf(skip !== undefined)(`the client's database transport${skip === undefined ? "" : ` (${skip})`}`, () => {
  let server: RunningPostgres;
  let admin: Sql;
  let reporterUrl: string;
  const running: Transport[] = [];

  beforeAll(async () => {
    if (skip !== undefined) return;
    server = await startPostgres();
    admin = postgres(server.url, { max: 1, onnotice: () => {} });
    const coordinator = await startCoordinatorProcess({ databaseUrl: server.url });
    await coordinator.stop();
    await admin.unsafe("CREATE ROLE reporter LOGIN");
    await admin.unsafe("GRANT INSERT (mcp_id, interaction_id, data) ON interaction_logs TO reporter");
    reporterUrl = server.url.replace("postgres@", "reporter@");
  });
  afterEach(async () => {
    for (const transport of running.splice(0)) await transport.stop(0);
    await admin?.unsafe("TRUNCATE interaction_logs");
  });
  afterAll(async () => {
    await admin?.end({ timeout: 0 });
    await server?.[Symbol.asyncDispose]();
  });

  const open = (databaseUrl = reporterUrl): Running => {
    const settled: Settlement[] = [];
    const states: string[] = [];
    const transport: Transport = createDatabaseTransport(
      { databaseUrl, mcpId: "demo", clock: systemClock, rng: () => 0.1 },
      { onSettled: (settlement) => settled.push(settlement), onChange: () => states.push(transport.health().state) },
    );
    running.push(transport);
    return { transport, settled, states };
  };
  const eventsOf = (interactionId: string, count: number): readonly OutgoingEvent[] =>
    Array.from({ length: count }, () => ({ eventId: mintUuidV7(), event: makeEvent({ mcpId: "", interactionId }) }));
  const offerAll = async ({ transport }: Running, events: readonly OutgoingEvent[]): Promise<void> => {
    let taken = 0;
    await until(() => {
      taken += transport.offer(events.slice(taken));
      return taken === events.length;
    });
  };
  const rowCount = async (): Promise<number> => (await admin.unsafe("SELECT FROM interaction_logs")).length;

  it("settles each event once its row is committed, and a coordinator stores it under its id", async () => {
    const client = open();
    const interactionId = freshName("sdk");
    const events = eventsOf(interactionId, 3_000);
    await offerAll(client, events);
    await until(() => client.settled.length === events.length);
    expect(client.settled.every(({ outcome }) => outcome === "stored")).toBe(true);
    expect(client.transport.health()).toEqual({ state: "up", why: "" });
    expect(await rowCount()).toBe(3_000);
    const coordinator = await startCoordinatorProcess({ databaseUrl: server.url });
    try {
      await until(async () => (await rowCount()) === 0);
    } finally {
      await coordinator.stop();
    }
    const stored = await admin.unsafe<{ event_id: string }[]>(
      `SELECT event_id FROM interaction_event WHERE interaction_id = '${interactionId}'`,
    );
    expect(stored.map((row) => row.event_id).sort()).toEqual(events.map(({ eventId }) => eventId).sort());
  });

  it("takes no more than it has room for, and the rest when there is room again", async () => {
    const { transport, settled } = open();
    const events = eventsOf(freshName("room"), limits.databaseQueueMax + 10);
    expect(transport.offer(events)).toBe(limits.databaseQueueMax);
    expect(transport.offer(events.slice(limits.databaseQueueMax))).toBe(0);
    await until(() => settled.length === limits.databaseQueueMax);
    expect(transport.offer(events.slice(limits.databaseQueueMax))).toBe(10);
    // Until their rows are there, too: one on its way would be found by the next story.
    await until(() => settled.length === events.length);
  });

  it("waits out a crash of the database, and loses nothing", async () => {
    const client = open();
    const events = eventsOf(freshName("crash"), 1_500);
    await offerAll(client, events.slice(0, 500));
    await until(() => client.settled.length > 0);
    await server.stopImmediate();
    await offerAll(client, events.slice(500));
    await until(() => client.transport.health().state === "down");
    await server.start();
    await admin.end({ timeout: 0 });
    admin = postgres(server.url, { max: 1, onnotice: () => {} });
    await until(() => client.settled.length === events.length);
    const ids = await admin.unsafe<{ id: string }[]>("SELECT DISTINCT data #>> '{event,eventId}' AS id FROM interaction_logs");
    expect(new Set(ids.map(({ id }) => id))).toEqual(new Set(events.map(({ eventId }) => eventId)));
  });

  it("an INSERT whose answer is lost is repeated", async () => {
    await using proxy = await startTcpProxy(server.port);
    const { transport, settled, states } = open(reporterUrl.replace(`:${server.port}/`, `:${proxy.port}/`));
    const [first, second] = [eventsOf(freshName("lost"), 1), eventsOf(freshName("lost"), 1)];
    transport.offer(first);
    await until(() => settled.length === 1);
    proxy.cutAtNextAnswer();
    transport.offer(second);
    await until(() => states.includes("down"));
    proxy.set("pass");
    await until(() => settled.length === 2);
    expect(states.at(-1)).toBe("up");
    expect(await rowCount()).toBeGreaterThanOrEqual(2);
  });

  it("an event that is no row is rejected, and its neighbours are settled", async () => {
    const { transport, settled } = open();
    const good = eventsOf(freshName("poison"), 40);
    const poison: OutgoingEvent = { eventId: mintUuidV7(), event: makeEvent({ interactionId: "zero \u0000 byte" }) };
    transport.offer([...good.slice(0, 20), poison, ...good.slice(20)]);
    await until(() => settled.length === 41);
    expect(settled.filter(({ outcome }) => outcome === "rejected")).toMatchObject([{ eventId: poison.eventId }]);
    expect(await rowCount()).toBe(40);
  });

  it("a probe tells whether rows could be inserted, and why not, without inserting any", async () => {
    const usable = open();
    await usable.transport.probe();
    expect(usable.transport.health().state).toBe("up");
    await admin.unsafe("CREATE ROLE stranger LOGIN");
    const refused = open(server.url.replace("postgres@", "stranger@"));
    await refused.transport.probe();
    expect(refused.transport.health()).toMatchObject({ state: "down", why: expect.stringContaining("permission denied") });
    const nowhere = open("postgres://reporter@127.0.0.1:1/postgres");
    await nowhere.transport.probe();
    expect(nowhere.transport.health()).toMatchObject({ state: "down", why: expect.stringContaining("ECONNREFUSED") });
    expect(await rowCount()).toBe(0);
  });
});
