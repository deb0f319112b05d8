import type { MessageInitShape } from "@bufbuild/protobuf";
import type { InteractionEventSchema } from "../../../gen/mcp/coordinator/v1/events_pb.js";
import { createDatabaseTransport } from "../../../src/client/transports/database.js";
import { createGrpcTransport } from "../../../src/client/transports/grpc.js";
import { createHttpTransport } from "../../../src/client/transports/http.js";
import { createRedisTransport } from "../../../src/client/transports/redis.js";
import type { OutgoingEvent, Transport, TransportEvents } from "../../../src/client/transports/transport.js";
import { timestampOf } from "../../../src/client/wire/time.js";
import { systemClock } from "../../../src/platform/clock.js";
import { systemRng } from "../../../src/platform/rng.js";
import { mintUuidV7 } from "../../../src/platform/uuid-v7.js";
import { none, say, setting, sleep } from "../results.js";
import { untilArrived } from "./audit.js";
import type { ReportingDrill, StageResult } from "./run.js";

const mcpId = "twin";

/** One transport with everything that it is to bring, offered until it is settled. */
class Bringer {
  readonly name: string;
  readonly outcomes: Record<string, number> = {};
  /** Events that this transport called stored, and not a duplicate. */
  readonly stored = new Set<string>();
  readonly #transport: Transport;
  readonly #waiting: OutgoingEvent[] = [];
  readonly #offered = new Map<string, OutgoingEvent>();

  constructor(open: (events: TransportEvents) => Transport) {
    this.#transport = open({
      onSettled: ({ eventId, outcome }) => {
        this.outcomes[outcome] = (this.outcomes[outcome] ?? 0) + 1;
        const event = this.#offered.get(eventId);
        this.#offered.delete(eventId);
        if (outcome === "stored") this.stored.add(eventId);
        if (outcome === "deferred" && event !== undefined) this.#waiting.push(event);
      },
      onChange: () => {},
    });
    this.name = this.#transport.name;
  }

  get leftCount(): number {
    return this.#waiting.length + this.#offered.size;
  }
  get isUp(): boolean {
    return this.#transport.health().state === "up";
  }

  probe(): Promise<void> {
    return this.#transport.probe();
  }

  bring(events: readonly OutgoingEvent[]): void {
    this.#waiting.push(...events);
  }

  /** Offers what it has room for. */
  offer(): void {
    const next = this.#waiting.slice(0, 500);
    for (const event of next) this.#offered.set(event.eventId, event);
    const taken = this.#transport.offer(next);
    for (const event of next.slice(taken)) this.#offered.delete(event.eventId);
    this.#waiting.splice(0, taken);
  }

  stop(): Promise<void> {
    return this.#transport.stop(1_000);
  }
}

/** The same event by gRPC to one coordinator and by HTTP to the other at the same moment; every fourth by Redis as well, every eighth also by the shared table. */
export async function runTwins({ site }: ReportingDrill): Promise<StageResult> {
  const count = setting("TWINS", 100_000);
  const { grpc, http, redis, database } = openTransports(site);
  const all = [grpc, http, redis, database];
  const sql = site.connect();
  try {
    for (const one of all) {
      for (let tries = 0; !one.isUp && tries < 100; tries += 1) {
        await one.probe();
        await sleep(50);
      }
      if (!one.isUp) throw new Error(`${one.name} is not up`);
    }
    const beganMs = performance.now();
    let offers = 0;
    for (let from = 0; from < count; from += 250) {
      const events = Array.from({ length: Math.min(250, count - from) }, (_, offset) => twin(from + offset));
      const shares = [events, events, events.filter((_, i) => i % 4 === 0), events.filter((_, i) => i % 8 === 0)];
      for (const [index, one] of all.entries()) {
        const share = shares[index] ?? [];
        one.bring(share);
        offers += share.length;
      }
      for (const one of all) one.offer();
      // The slowest sets the pace, so that both carry the same events at the same time.
      while (all.some(({ leftCount }) => leftCount > 1_000)) {
        await sleep(1);
        for (const one of all) one.offer();
      }
      if ((from + 250) % 25_000 === 0) say(`${from + 250} events offered to two transports and more`);
    }
    for (const untilMs = performance.now() + 120_000; all.some(({ leftCount }) => leftCount > 0) && performance.now() < untilMs; ) {
      await sleep(5);
      for (const one of all) one.offer();
    }
    const seconds = (performance.now() - beganMs) / 1_000;
    await untilArrived(sql, site.redis.client);
    const [rows] = await sql<{ n: string; ids: string; pairs: string }[]>`
      SELECT count(*) AS n, count(DISTINCT event_id) AS ids, count(DISTINCT (interaction_id, kind)) AS pairs
      FROM interaction_event WHERE mcp_id = ${mcpId}`;
    const [merged] = await sql<{ n: string; wrong: string }[]>`
      SELECT count(*) AS n, count(*) FILTER (WHERE event_count <> 2 OR state <> 3 OR has_conflict) AS wrong FROM interaction WHERE mcp_id = ${mcpId}`;
    const by = await sql<{ source: number; n: string }[]>`
      SELECT source, count(*) AS n FROM interaction_event WHERE mcp_id = ${mcpId} GROUP BY source ORDER BY source`;
    // The table says stored when the row is in it, whoever was first: its verdicts are no claim.
    const claims = new Map<string, number>();
    for (const one of [grpc, http, redis]) for (const id of one.stored) claims.set(id, (claims.get(id) ?? 0) + 1);
    const isExact = Number(rows?.n) === count && Number(rows?.ids) === count && Number(rows?.pairs) === count;
    return {
      figures: [
        { name: "events offered to two transports and more at once", value: count, unit: "" },
        { name: "offers", value: offers, unit: "" },
        { name: "rows stored", value: Number(rows?.n), unit: "", target: String(count), isMet: isExact },
        none("events that two transports called stored and not duplicate", [...claims.values()].filter((n) => n > 1).length),
        none(
          "offers without a verdict",
          all.reduce((sum, { leftCount }) => sum + leftCount, 0),
        ),
        none(
          "interactions that do not count exactly their two events",
          Number(merged?.wrong) + Math.abs(Number(merged?.n) - Math.ceil(count / 2)),
        ),
        { name: "offers a second", value: offers / seconds, unit: "/s" },
      ],
      details: {
        outcomes: Object.fromEntries(all.map(({ name, outcomes }) => [name, outcomes])),
        rowsBySource: by.map((one) => ({ ...one })),
      },
    };
  } finally {
    await Promise.all(all.map((one) => one.stop()));
    await sql.end();
  }
}

function openTransports({ seats, redis, reporterUrl }: ReportingDrill["site"]) {
  const own = { mcpId, clock: systemClock, rng: systemRng };
  const grpcOptions = { ...own, endpoint: { target: seats[0].target, key: undefined }, maxRetries: 3 };
  const httpOptions = { ...own, url: seats[1].webUrl, key: undefined, requestsPerSecond: 10_000, maxRetries: 3 };
  return {
    grpc: new Bringer((events) => createGrpcTransport(grpcOptions, events)),
    http: new Bringer((events) => createHttpTransport(httpOptions, events)),
    redis: new Bringer((events) => createRedisTransport({ ...own, url: redis.url }, events)),
    database: new Bringer((events) => createDatabaseTransport({ ...own, databaseUrl: reporterUrl }, events)),
  };
}

/** Start and end of an interaction in turn. */
function twin(n: number): OutgoingEvent {
  const detail: NonNullable<MessageInitShape<typeof InteractionEventSchema>["detail"]> =
    n % 2 === 0 ? { case: "start", value: { requestType: "drill" } } : { case: "complete", value: { success: true } };
  const eventId = mintUuidV7();
  return { eventId, event: { eventId, mcpId, interactionId: `i-${Math.floor(n / 2)}`, occurredAt: timestampOf(Date.now()), detail } };
}
