import { deadLetterKey, readerKey, verdictKeyPrefix } from "../../interaction/redis-contract.js";
import { limits } from "../../platform/limits.js";
import { openRedis, type RedisAnswer, type RedisCommand, type RedisConnection, RedisFault } from "../../platform/redis-connection.js";
import { denialOf, missingRights, type RedisRight, rightToAdd } from "../../platform/redis-rights.js";
import { type PendingEntry, parseClaim, parseEntries, parsePending, parseRead, type StreamEntry } from "./replies.js";

/** Where entries come from, and as whom they are read. */
export type StreamPlace = {
  readonly url: string;
  readonly stream: string;
  readonly group: string;
  readonly consumer: string;
};

export type ClaimedPage = {
  /** Where the next page begins; "0-0" after the last. */
  readonly cursor: string;
  readonly entries: readonly StreamEntry[];
};

/** Two connections to Redis: one that waits for entries, one for everything else. All calls reject with RedisFault only. */
export type RedisLink = {
  /** Makes the group, and the stream with it, where there is none. A new group begins at the oldest entry that there is. */
  readonly makeGroup: () => Promise<void>;
  /** New entries, or `[]` after `blockMs`. */
  readonly readNew: (count: number, blockMs: number) => Promise<readonly StreamEntry[]>;
  /** Entries behind `afterId` that this consumer was given before and has not acknowledged, oldest first. */
  readonly pendingOwn: (afterId: string, count: number) => Promise<readonly PendingEntry[]>;
  /** Delivers entries of ours once more. Those that are no longer there, or no longer pending, are left out. */
  readonly deliverAgain: (ids: readonly string[]) => Promise<readonly StreamEntry[]>;
  /** Takes over entries that nobody has touched for `idleMs`. */
  readonly claim: (cursor: string, idleMs: number, count: number) => Promise<ClaimedPage>;
  /** How often each of these entries of ours has been delivered. */
  readonly deliveriesOf: (ids: readonly string[]) => Promise<readonly number[]>;
  /** Makes entries of ours young again, so that nobody takes them over while they wait for the store. */
  readonly refresh: (ids: readonly string[]) => Promise<void>;
  readonly pipeline: (commands: readonly RedisCommand[]) => Promise<readonly RedisAnswer[]>;
  readonly transaction: (commands: readonly RedisCommand[]) => Promise<readonly RedisAnswer[]>;
  readonly close: () => void;
};

/** Connects both. `onClosed` is called once when either ends. Errors: RedisFault, also when the user may not do what `rightsOf` names; nothing stays open then. */
export async function openLink(place: StreamPlace, blockMs: number, onClosed: (why: string) => void): Promise<RedisLink> {
  const { url, stream, group, consumer } = place;
  let isClosed = false;
  const open: RedisConnection[] = [];
  const closed = (why: string): void => {
    if (isClosed) return;
    isClosed = true;
    for (const connection of open) connection.close();
    onClosed(why);
  };
  const connect = async (name: string, commandMaxMs: number): Promise<RedisConnection> => {
    const connection = await openRedis({ url, name, connectMaxMs: limits.redisConnectMaxMs, commandMaxMs, onClosed: closed });
    open.push(connection);
    return connection;
  };
  const reader = await connect("mcp-coordinator-reader", blockMs + limits.redisCommandMaxMs);
  const writer = await connectAsOneWhoMay(place, () => connect("mcp-coordinator", limits.redisCommandMaxMs)).catch((thrown: unknown) => {
    isClosed = true;
    for (const connection of open) connection.close();
    throw thrown; // after cleaning up
  });
  return {
    makeGroup: () => makeGroup(writer, stream, group),
    readNew: async (count, blockMs) =>
      parseRead(
        await reader.call("XREADGROUP", "GROUP", group, consumer, "COUNT", count, "BLOCK", Math.max(1, blockMs), "STREAMS", stream, ">"),
      ),
    pendingOwn: async (afterId, count) => parsePending(await writer.call("XPENDING", stream, group, `(${afterId}`, "+", count, consumer)),
    deliverAgain: async (ids) => parseEntries(await writer.call("XCLAIM", stream, group, consumer, 0, ...ids)),
    claim: async (cursor, idleMs, count) =>
      parseClaim(await writer.call("XAUTOCLAIM", stream, group, consumer, idleMs, cursor, "COUNT", count)),
    deliveriesOf: async (ids) => {
      const answers = await writer.pipeline(ids.map((id) => ["XPENDING", stream, group, id, id, 1]));
      return answers.map(deliveriesIn);
    },
    refresh: async (ids) => {
      // JUSTID: the count of deliveries stays as it is.
      if (ids.length > 0) await writer.call("XCLAIM", stream, group, consumer, 0, ...ids, "JUSTID");
    },
    pipeline: writer.pipeline,
    transaction: writer.transaction,
    close: () => {
      isClosed = true;
      for (const connection of open) connection.close();
    },
  };
}

async function connectAsOneWhoMay(place: StreamPlace, connect: () => Promise<RedisConnection>): Promise<RedisConnection> {
  const writer = await connect();
  const denied = await missingRights(writer, rightsOf(place));
  if (denied.length > 0) throw new RedisFault("refused", denialOf(denied));
  return writer;
}

/**
 * What settling an entry takes, beside what reading it takes. Asked for before anything is read: within a transaction one refused verdict would keep every XACK from its effect, and a
 * dead letter that cannot be written leaves its entry pending for ever.
 */
export function rightsOf({ stream, group, consumer }: StreamPlace): readonly RedisRight[] {
  const verdicts = verdictKeyPrefix(stream);
  const reader = readerKey(stream);
  return [
    { name: `XACK of ${stream}`, attempt: ["xack", stream, group, "0-0"] },
    rightToAdd(deadLetterKey(stream)),
    { ...rightToAdd(`${verdicts}attempt`), name: `XADD to ${verdicts}*` },
    { name: `PEXPIRE of ${verdicts}*`, attempt: ["pexpire", `${verdicts}attempt`, limits.redisVerdictKeepMs] },
    // Only where another coordinator reads as well, and then as that one does each second.
    { name: `SET of ${reader}`, attempt: ["set", reader, consumer, "PX", limits.redisReaderMs, "XX"] },
  ];
}

async function makeGroup(writer: RedisConnection, stream: string, group: string): Promise<void> {
  try {
    await writer.call("XGROUP", "CREATE", stream, group, "0", "MKSTREAM");
  } catch (thrown) {
    // Translated: that the group is there already is what was wanted.
    if (!(thrown instanceof RedisFault && thrown.code === "BUSYGROUP")) throw thrown;
  }
}

/** XPENDING with one id answers [[id, consumer, idle, deliveries]], or [] when the entry is no longer pending. */
function deliveriesIn(answer: RedisAnswer): number {
  if (answer.kind === "refused") throw answer.fault;
  const [row]: readonly unknown[] = Array.isArray(answer.value) ? answer.value : [];
  const count: unknown = Array.isArray(row) ? row[3] : undefined;
  return typeof count === "number" ? count : 1;
}

/** Whether a fault means that the group is gone, or the stream with it: FLUSHALL, DEL, a failover to a replica that had less. */
export function isGroupGone(fault: RedisFault): boolean {
  return fault.code === "NOGROUP" || fault.code === "UNBLOCKED";
}

/** When an entry was added, by its id, which begins with the milliseconds of Redis' clock.     Units: ms since the Unix epoch; undefined for ids that are no times. */
export function addedAtMs(id: string): number | undefined {
  const ms = Number(id.split("-", 1)[0]);
  return Number.isSafeInteger(ms) && ms > earliestEntryMs ? ms : undefined;
}

/** Ids below are given by producers, and are no times: Redis Streams came in 2018. */
const earliestEntryMs = Date.UTC(2018, 0, 1);
