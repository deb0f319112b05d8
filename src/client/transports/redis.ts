import { entryFields, readerKey, verdictFields, verdictKeyPrefix } from "../../interaction/redis-contract.js";
import { backoffMs } from "../../platform/backoff.js";
import { type Clock, systemClock } from "../../platform/clock.js";
import { limits } from "../../platform/limits.js";
import { openRedis, type RedisAnswer, type RedisCommand, type RedisConnection, RedisFault } from "../../platform/redis-connection.js";
import { denialOf, missingRights, type RedisRight, rightToAdd } from "../../platform/redis-rights.js";
import { type Rng, systemRng } from "../../platform/rng.js";
import { mintUuidV7 } from "../../platform/uuid-v7.js";
import { Timers } from "../timers.js";
import { encodeEvent } from "../wire/frames.js";
import { readVerdicts, settlementOf } from "./redis-verdicts.js";
import type { OutgoingEvent, Transport, TransportEvents, TransportHealth } from "./transport.js";

export type RedisTransportOptions = {
  readonly url: string;
  /** Default `mcp:interactions`, as the coordinator's. */
  readonly stream?: string;
  /** Goes into every entry; for coordinators that ask for keys. */
  readonly apiKey?: string;
  /** For events that name no MCP. */
  readonly mcpId?: string;
  /** No entry is added while the stream has so many. Default 100,000, as the coordinator's `redis.max_len`, above which it trims what is acknowledged. */
  readonly maxLen?: number;
  /** How long a verdict is waited for. Default `limits.redisVerdictMaxMs`. */
  readonly verdictMaxMs?: number;
  readonly clock?: Clock;
  readonly rng?: Rng;
};

/**
 * The way through a Redis stream. An event is settled by the coordinator's verdict, which comes after the commit; that Redis took the entry proves nothing.
 * Nothing is ever trimmed from here: Redis would trim what nobody has read. When the stream is as long as it may be, events are not taken instead.
 * Connects with the first offer or probe.     Bound: `redisWindowMaxEvents` without a verdict.
 */
export function createRedisTransport(options: RedisTransportOptions, events: TransportEvents): Transport {
  const transport = new RedisTransport(options, events);
  return {
    name: "redis",
    health: () => transport.health,
    offer: (offered) => transport.offer(offered),
    probe: () => transport.probe(),
    stop: (graceMs) => transport.stop(graceMs),
  };
}

type Link = { readonly writer: RedisConnection; readonly reader: RedisConnection };

/** States: `idle` until it is asked for anything, then `connecting`, `up`, and `down` until the next try, which it times itself. */
class RedisTransport {
  readonly #options: RedisTransportOptions;
  readonly #events: TransportEvents;
  readonly #clock: Clock;
  readonly #rng: Rng;
  readonly #stream: string;
  readonly #replyTo: string;
  readonly #timers: Timers<"retry" | "look" | "expire" | "stop">;
  /** Events without a verdict, oldest first: since when.     Units: monotonic ms. */
  readonly #waiting = new Map<string, number>();
  #health: TransportHealth = { state: "idle", why: "" };
  #link: Link | undefined;
  #connecting: Promise<void> | undefined;
  #failures = 0;
  #isFull = false;
  #isStopping = false;
  #onEmpty: (() => void)[] = [];

  constructor(options: RedisTransportOptions, events: TransportEvents) {
    this.#options = options;
    this.#events = events;
    this.#clock = options.clock ?? systemClock;
    this.#rng = options.rng ?? systemRng;
    this.#timers = new Timers(this.#clock);
    this.#stream = options.stream ?? "mcp:interactions";
    this.#replyTo = `${verdictKeyPrefix(this.#stream)}${mintUuidV7()}`;
  }

  get health(): TransportHealth {
    return this.#health;
  }

  offer(offered: readonly OutgoingEvent[]): number {
    if (this.#isStopping) return 0;
    if (this.#link === undefined) {
      if (this.#health.state === "idle") void this.#connect();
      return 0;
    }
    if (this.#health.state !== "up" || this.#isFull) return 0;
    const taken = offered.slice(0, Math.max(0, limits.redisWindowMaxEvents - this.#waiting.size));
    const nowMs = this.#clock.monotonicMs();
    const added = taken.filter(({ eventId }) => !this.#waiting.has(eventId)); // offered again while it is on its way: one entry is enough
    for (const { eventId } of added) this.#waiting.set(eventId, nowMs);
    if (added.length > 0) void this.#add(this.#link, added);
    return taken.length;
  }

  async probe(): Promise<void> {
    if (this.#isStopping) return;
    if (this.#link === undefined) await this.#connect();
    else await this.#look(this.#link);
  }

  stop(graceMs: number): Promise<void> {
    this.#isStopping = true;
    if (this.#waiting.size === 0 || this.#link === undefined) this.#end();
    else this.#timers.set("stop", graceMs, () => this.#end());
    return new Promise((resolve) => {
      if (this.#health.state === "idle") resolve();
      else this.#onEmpty.push(resolve);
    });
  }

  #end(): void {
    this.#timers.clearAll();
    this.#drop();
    this.#waiting.clear();
    this.#health = { state: "idle", why: "stopped" };
    for (const ended of this.#onEmpty.splice(0)) ended();
  }

  /** Never rejects: failure becomes health, and the next try is timed. */
  #connect(): Promise<void> {
    this.#connecting ??= this.#tryToConnect().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #tryToConnect(): Promise<void> {
    this.#timers.clear("retry");
    this.#setHealth({ state: "connecting", why: this.#health.why });
    const open: RedisConnection[] = [];
    const connect = async (name: string, waitMs: number): Promise<RedisConnection> => {
      const onClosed = (why: string): void => this.#lost(open, why);
      const commandMaxMs = limits.redisCommandMaxMs + waitMs;
      const connectMaxMs = limits.redisConnectMaxMs;
      const connection = await openRedis({ url: this.#options.url, name, connectMaxMs, commandMaxMs, onClosed });
      open.push(connection);
      return connection;
    };
    try {
      const writer = await connect("mcp-reporter", 0);
      const denied = await missingRights(writer, this.#rights);
      if (denied.length > 0) {
        // Without its verdict an event is never settled: what such a user adds would be added again and again.
        close(open);
        return this.#down({ why: denialOf(denied), denied });
      }
      const link = { writer, reader: await connect("mcp-reporter-verdicts", readBlockMs) };
      if (this.#isStopping) return close(open);
      this.#link = link;
      void this.#hear(link);
      await this.#look(link);
    } catch (thrown) {
      close(open);
      this.#down({ why: RedisFault.from(thrown).message });
    }
  }

  /** What nothing can be reported without. */
  get #rights(): readonly RedisRight[] {
    const stream = this.#stream;
    return [
      rightToAdd(stream),
      { name: `XLEN of ${stream}`, attempt: ["xlen", stream] },
      { name: `XREAD of ${verdictKeyPrefix(stream)}*`, attempt: ["xread", "COUNT", 1, "STREAMS", this.#replyTo, "0-0"] },
    ];
  }

  /** Adds entries in one write, and learns with it how long the stream is. Never rejects. */
  async #add(link: Link, added: readonly OutgoingEvent[]): Promise<void> {
    try {
      const commands: RedisCommand[] = added.map((event) => this.#entryOf(event));
      const answers = await link.writer.pipeline([...commands, ["xlen", this.#stream]]);
      for (const [i, { eventId }] of added.entries()) {
        const answer = answers[i];
        if (answer?.kind === "refused") this.#defer(eventId, `Redis did not take it: ${answer.fault.message}`);
      }
      const refused = answers.find((answer) => answer.kind === "refused");
      // A right that was taken away is asked for anew with the next connection, and is not there by itself a second later.
      if (refused?.kind === "refused" && refused.fault.code === "NOPERM") this.#fail(link, refused.fault.message);
      else if (refused?.kind === "refused") this.#setHealth({ state: "down", why: refused.fault.message });
      else this.#measure(answers.at(-1));
    } catch (thrown) {
      // What had been on its way may be in the stream or not. It is offered again, and is a duplicate if it was.
      for (const { eventId } of added) this.#defer(eventId, "the connection to Redis was lost");
      this.#fail(link, RedisFault.from(thrown).message);
    }
  }

  #entryOf({ eventId, event }: OutgoingEvent): RedisCommand {
    const mcpId = event.mcpId ? event.mcpId : (this.#options.mcpId ?? "");
    const encoded = encodeEvent({ ...event, eventId, mcpId });
    const key = this.#options.apiKey === undefined ? [] : [entryFields.apiKey, this.#options.apiKey];
    return ["xadd", this.#stream, "*", entryFields.event, Buffer.from(encoded), entryFields.replyTo, this.#replyTo, ...key];
  }

  /** Whether a coordinator reads, and whether the stream has room. Never rejects. */
  async #look(link: Link): Promise<void> {
    if (this.#link !== link) return;
    this.#timers.set("look", lookEveryMs, () => void this.#look(link));
    this.#expire();
    try {
      const [reader, length] = await link.writer.pipeline([
        ["exists", readerKey(this.#stream)],
        ["xlen", this.#stream],
      ]);
      if (this.#link !== link) return;
      if (length?.kind === "refused") return this.#down({ why: length.fault.message });
      this.#failures = 0;
      const wasFull = this.#isFull;
      // A producer that may not look for the reader trusts that there is one: the verdicts will tell.
      const isRead = reader?.kind === "refused" || (reader?.kind === "ok" && reader.value === 1);
      this.#measure(length);
      if (!isRead) this.#setHealth({ state: "down", why: `no coordinator reads the stream "${this.#stream}"` });
      else if (this.#isFull) this.#setHealth({ state: "down", why: `the stream "${this.#stream}" is full: entries wait to be taken` });
      else if (this.#health.state !== "up") this.#setHealth({ state: "up", why: "" });
      else if (wasFull) this.#events.onChange(); // it was found full while it was up: there is room again, and nothing else says so
    } catch (thrown) {
      this.#fail(link, RedisFault.from(thrown).message);
    }
  }

  #measure(length: RedisAnswer | undefined): void {
    if (length?.kind === "ok" && typeof length.value === "number") this.#isFull = length.value >= (this.#options.maxLen ?? defaultMaxLen);
  }

  /** Reads verdicts for as long as the link lives. Never rejects: the loop's edge. */
  async #hear(link: Link): Promise<void> {
    // From the beginning each time: after a FLUSHALL ids may begin anew, and a verdict that is heard twice is heard once.
    let after = "0-0";
    try {
      while (this.#link === link) {
        const heard = readVerdicts(
          await link.reader.call("XREAD", "COUNT", verdictsPerRead, "BLOCK", readBlockMs, "STREAMS", this.#replyTo, after),
        );
        for (const verdict of heard) this.#settle(verdict.eventId, verdict.fields);
        after = heard.at(-1)?.id ?? after;
        if (heard.length > 0) this.#events.onChange();
      }
    } catch (thrown) {
      this.#fail(link, RedisFault.from(thrown).message);
    }
  }

  #settle(eventId: string, fields: Readonly<Record<string, string>>): void {
    if (!this.#waiting.delete(eventId)) return;
    this.#events.onSettled(settlementOf(eventId, fields));
    const reason = fields[verdictFields.reason] ?? "";
    if (reason.startsWith(`${entryFields.apiKey}:`)) this.#setHealth({ state: "down", why: reason });
    if (this.#isStopping && this.#waiting.size === 0) this.#end();
  }

  #defer(eventId: string, reason: string): void {
    if (this.#waiting.delete(eventId)) this.#events.onSettled({ eventId, outcome: "deferred", reason });
  }

  /** Events that have waited too long are given back: Redis may have lost them, or the one who had them. */
  #expire(): void {
    const beforeMs = this.#clock.monotonicMs() - (this.#options.verdictMaxMs ?? limits.redisVerdictMaxMs);
    for (const [eventId, sinceMs] of this.#waiting) {
      if (sinceMs > beforeMs) break;
      this.#defer(eventId, "no verdict came in time");
    }
  }

  #lost(open: readonly RedisConnection[], why: string): void {
    if (this.#link !== undefined && open.includes(this.#link.writer)) this.#fail(this.#link, why);
  }

  /** A link has failed. One that is no longer in use fails unheard. */
  #fail(link: Link, why: string): void {
    if (this.#link === link) this.#down({ why });
  }

  #down(fault: Omit<TransportHealth, "state">): void {
    this.#drop();
    if (this.#isStopping) {
      this.#end();
      return;
    }
    this.#setHealth({ state: "down", ...fault });
    const delayMs = backoffMs(limits.redisBackoff, this.#failures, this.#rng);
    this.#failures += 1;
    this.#timers.set("retry", delayMs, () => {
      this.#expire();
      void this.#connect();
    });
  }

  #drop(): void {
    const link = this.#link;
    this.#link = undefined;
    this.#timers.clear("look");
    if (link !== undefined) close([link.writer, link.reader]);
  }

  #setHealth(health: TransportHealth): void {
    if (health.state === this.#health.state && health.why === this.#health.why) return;
    this.#health = health;
    this.#events.onChange();
  }
}

function close(connections: readonly RedisConnection[]): void {
  for (const connection of connections) connection.close();
}

/** `maxlen` of the transport document. */
const defaultMaxLen = 100_000;
/** How long a read of verdicts waits, and how often the reader and the room are looked at: what a stopping transport waits at most. */
const readBlockMs = 1_000;
const lookEveryMs = 1_000;
/** Verdicts taken in one read. */
const verdictsPerRead = 1_000;
