import { create, toJsonString } from "@bufbuild/protobuf";
import type { Sql } from "postgres";
import { InteractionEventSchema } from "../../../gen/mcp/coordinator/v1/events_pb.js";
import { backoffMs } from "../../platform/backoff.js";
import type { Cancel, Clock } from "../../platform/clock.js";
import { createDriverSockets, type DriverSockets, driverOptions } from "../../platform/driver-sockets.js";
import { limits } from "../../platform/limits.js";
import type { Rng } from "../../platform/rng.js";
import type { OutgoingEvent, Transport, TransportEvents, TransportHealth } from "./transport.js";

export type DatabaseTransportOptions = {
  /** The coordinator's database, with a role that was granted INSERT on interaction_logs and needs nothing else. */
  readonly databaseUrl: string;
  /** For events that name no MCP. */
  readonly mcpId: string;
  readonly clock: Clock;
  readonly rng: Rng;
};

/**
 * Reports by inserting rows into the table interaction_logs of the coordinator's own database (docs/shared-table.md).
 *
 * An event counts as `stored` once the INSERT has committed. The row is then as durable as an event is, and it leaves the table only in the transaction that stores
 * its event or makes it a dead letter: nothing between here and there can lose it. What is different from the other ways: nobody answers, so what the coordinator
 * refuses is seen by its operators, in dead_letter, and not here. An INSERT whose answer was lost is repeated; its rows hold the same event id and are stored once.
 *
 * Bound: databaseQueueMax events; one statement at a time, of at most databaseBatchMax events and databaseBatchMaxChars.
 */
export function createDatabaseTransport(options: DatabaseTransportOptions, events: TransportEvents): Transport {
  const transport = new DatabaseTransport(options, events);
  return {
    name: "database",
    health: () => transport.health,
    offer: (offered) => transport.offer(offered),
    probe: () => transport.probe(),
    stop: (graceMs) => transport.stop(graceMs),
  };
}

/** One event as it goes into a row. */
type Waiting = { readonly eventId: string; readonly row: string };

/** A connected driver, and its sockets, which it ends without destroying them. */
type Driver = { readonly sql: Sql; readonly sockets: DriverSockets };

const insertSql = `INSERT INTO interaction_logs (mcp_id, interaction_id, data)
SELECT r->>'mcp_id', r->>'interaction_id', r->'data' FROM json_array_elements($1::text::json) AS r`;

/** Answers only a role that may insert, and inserts nothing. */
const probeSql = "INSERT INTO interaction_logs (mcp_id, interaction_id, data) SELECT '', '', '{}' WHERE false";

class DatabaseTransport {
  readonly #options: DatabaseTransportOptions;
  readonly #events: TransportEvents;
  #health: TransportHealth = { state: "idle", why: "" };
  #waiting: Waiting[] = [];
  #driver: Driver | undefined;
  #batchMax: number = limits.databaseBatchMax;
  #failures = 0;
  #isStopped = false;
  #cancel: Cancel = () => {};
  #isBusy = false;
  /** Busy, but only with waiting for the next try. */
  #isPausing = false;
  /** It failed because there was no database to be reached: one that a probe reaches is a reason to end the pause. One that refuses the rows is not. */
  #wasAway = false;
  #whenIdle: (() => void)[] = [];

  constructor(options: DatabaseTransportOptions, events: TransportEvents) {
    this.#options = options;
    this.#events = events;
  }

  get health(): TransportHealth {
    return this.#health;
  }

  offer(offered: readonly OutgoingEvent[]): number {
    if (this.#isStopped) return 0;
    const room = limits.databaseQueueMax - this.#waiting.length;
    const taken = offered.slice(0, room);
    for (const one of taken) this.#waiting.push(waitingOf(one, this.#options.mcpId));
    this.#wake();
    return taken.length;
  }

  /** With a connection of its own, so that an INSERT that hangs does not hide a database that answers. */
  async probe(): Promise<void> {
    let driver: Driver | undefined;
    try {
      driver = await connect(this.#options);
      const { sql } = driver;
      await this.#within(limits.transportProbeMaxMs, () => sql.unsafe(probeSql));
      if (this.#health.state !== "up") this.#turn("up", "");
      if (this.#wasAway) this.#retry();
    } catch (thrown) {
      // The loop's edge: a failure becomes health.
      this.#turn("down", textOf(thrown));
    } finally {
      if (driver !== undefined) await discard(driver);
    }
  }

  async stop(graceMs: number): Promise<void> {
    this.#isStopped = true;
    if (this.#isBusy || this.#waiting.length > 0) {
      await new Promise<void>((resolve) => {
        const cancel = this.#options.clock.after(graceMs, resolve);
        this.#whenIdle.push(() => {
          cancel();
          resolve();
        });
      });
    }
    this.#waiting = [];
    this.#cancel();
    await this.#dropDriver();
  }

  #wake(): void {
    if (this.#isBusy || this.#waiting.length === 0) return;
    this.#isBusy = true;
    void this.#insertAll();
  }

  /** Inserts until nothing waits; after a failure once more, later. Never rejects. */
  async #insertAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = takeBatch(this.#waiting, this.#batchMax);
      try {
        await this.#insert(batch);
      } catch (thrown) {
        if (isPoison(thrown)) this.#isolate(batch, `the database refuses the row: ${textOf(thrown)}${detailOf(thrown)}`);
        else return this.#tryLater(thrown);
        continue;
      }
      this.#batchMax = Math.min(limits.databaseBatchMax, this.#batchMax * 2);
      this.#settle(batch, "stored", "");
    }
    this.#isBusy = false;
    for (const idle of this.#whenIdle.splice(0)) idle();
  }

  /** The loop's edge: a failure becomes health, and the same events are tried again. */
  async #tryLater(thrown: unknown): Promise<void> {
    await this.#dropDriver();
    this.#turn("down", textOf(thrown));
    const delayMs = backoffMs(limits.reconnectBackoff, this.#failures, this.#options.rng);
    this.#failures += 1;
    this.#isPausing = true;
    this.#wasAway = isAway(thrown);
    this.#cancel = this.#options.clock.after(delayMs, () => this.#retry());
  }

  /** Ends the pause after a failure, if there is one: its time is over, or a probe has found the database well. */
  #retry(): void {
    if (!this.#isPausing) return;
    this.#cancel();
    this.#isPausing = false;
    this.#isBusy = false;
    this.#wake();
  }

  /** Something in the batch is no row: smaller batches, until it stands alone and is refused. */
  #isolate(batch: readonly Waiting[], why: string): void {
    if (batch.length === 1) this.#settle(batch, "rejected", why);
    else this.#batchMax = Math.ceil(batch.length / 2);
  }

  #settle(batch: readonly Waiting[], outcome: "stored" | "rejected", reason: string): void {
    const wasFull = this.#waiting.length >= limits.databaseQueueMax;
    this.#waiting = this.#waiting.slice(batch.length);
    this.#failures = 0;
    for (const { eventId } of batch) this.#events.onSettled({ eventId, outcome, reason });
    if (this.#health.state !== "up") this.#turn("up", "");
    else if (wasFull) this.#events.onChange();
  }

  async #insert(batch: readonly Waiting[]): Promise<void> {
    if (this.#driver === undefined && this.#health.state !== "down") this.#turn("connecting", "");
    this.#driver ??= await connect(this.#options);
    const { sql } = this.#driver;
    const rows = `[${batch.map(({ row }) => row).join(",")}]`;
    await this.#within(limits.statementWatchdogMs, () => sql.unsafe(insertSql, [rows], { prepare: true }));
  }

  /** The driver has no deadline of its own, and waits for ever on a socket that is half open. */
  async #within(maxMs: number, statement: () => PromiseLike<unknown>): Promise<void> {
    let cancel = (): void => {};
    const deadline = new Promise<never>((_, reject) => {
      cancel = this.#options.clock.after(maxMs, () => reject(new Error(`the database did not answer within ${maxMs} ms`)));
    });
    try {
      await Promise.race([statement(), deadline]);
    } finally {
      cancel();
    }
  }

  async #dropDriver(): Promise<void> {
    const driver = this.#driver;
    this.#driver = undefined;
    if (driver !== undefined) await discard(driver);
  }

  #turn(state: TransportHealth["state"], why: string): void {
    this.#health = { state, why };
    this.#events.onChange();
  }
}

function waitingOf({ eventId, event }: OutgoingEvent, ownMcpId: string): Waiting {
  const message = create(InteractionEventSchema, { ...event, eventId });
  const mcpId = message.mcpId === "" ? ownMcpId : message.mcpId;
  const ids = `"mcp_id":${JSON.stringify(mcpId)},"interaction_id":${JSON.stringify(message.interactionId)}`;
  return { eventId, row: `{${ids},"data":{"event":${toJsonString(InteractionEventSchema, message)}}}` };
}

/** The oldest events, at least one. */
function takeBatch(waiting: readonly Waiting[], maxCount: number): readonly Waiting[] {
  let chars = 0;
  let count = 0;
  for (const { row } of waiting) {
    chars += row.length;
    if (count > 0 && (count >= maxCount || chars > limits.databaseBatchMaxChars)) break;
    count += 1;
  }
  return waiting.slice(0, count);
}

/** The driver is loaded by the first event, so that clients that never use a database need none. Connects with the first statement. */
async function connect({ databaseUrl }: DatabaseTransportOptions): Promise<Driver> {
  const { default: postgres } = await import("postgres");
  const sockets = createDriverSockets(1);
  const options = {
    ...driverOptions(sockets),
    max: 1,
    connection: { application_name: "mcp-coordinator reporter", statement_timeout: limits.statementTimeoutMs },
  };
  return { sql: postgres(databaseUrl, options), sockets };
}

/** Ends without a word: what is under way ends with it. */
async function discard({ sql, sockets }: Driver): Promise<void> {
  await sql.end({ timeout: 0 });
  sockets.destroy();
}

/** The database took offence at a value, and would again. Source: PostgreSQL manual, appendix A: classes 22, 23 and 54. */
function isPoison(thrown: unknown): boolean {
  return thrown instanceof Error && "code" in thrown && /^(22|23|54)/.test(String(thrown.code));
}

/** What Postgres says besides its message: mostly which value it is about. */
const detailOf = (thrown: unknown): string =>
  thrown instanceof Error && "detail" in thrown && typeof thrown.detail === "string" ? `, ${thrown.detail}` : "";

/** Nobody answered, or a server that is ending or starting. Source: PostgreSQL manual, appendix A: classes 08 and 57P; other codes of five characters are answers. */
function isAway(thrown: unknown): boolean {
  const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
  return !/^[0-9A-Z]{5}$/.test(code) || /^(?:08|57P)/.test(code);
}

function textOf(thrown: unknown): string {
  const error = thrown instanceof AggregateError ? thrown.errors[0] : thrown;
  return error instanceof Error ? error.message || ("code" in error ? String(error.code) : error.name) : String(error);
}
