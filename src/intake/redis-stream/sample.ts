import { readerKey } from "../../interaction/redis-contract.js";
import type { Clock } from "../../platform/clock.js";
import { limits } from "../../platform/limits.js";
import type { RedisAnswer, RedisCommand } from "../../platform/redis-connection.js";
import { addedAtMs, type RedisLink, type StreamPlace } from "./link.js";

/** How the stream is. Undefined where Redis does not tell. */
export type StreamSample = {
  /** Entries that are there, acknowledged ones included. */
  readonly length: number;
  /** Entries that this group has not acknowledged: never delivered, and pending. */
  readonly depth: number | undefined;
  /** Age of the oldest of those.     Units: ms. */
  readonly lagMs: number | undefined;
  /**
   * Entries that were trimmed before this group was given them, by Redis' counters. Told only while trimming is ahead of the group, else 0. Redis 7.0 counts
   * from the beginning of the stream, later ones may forget earlier losses: the largest ever told is a lower bound.
   */
  readonly droppedUnread: number;
  /** Everything older than this id is acknowledged by every group. */
  readonly neededFrom: string | undefined;
};

/** Asks Redis. Says beside it that a coordinator is here, for producers that want to know. Errors: RedisFault. */
export async function sampleStream(link: RedisLink, place: StreamPlace, clock: Clock): Promise<StreamSample> {
  const { stream, group, consumer } = place;
  const [info, groups] = await ask(link, [
    ["xinfo", "STREAM", stream],
    ["xinfo", "GROUPS", stream],
    ["set", readerKey(stream), consumer, "PX", limits.redisReaderMs],
  ]);
  const facts = membersOf(info);
  const all = (Array.isArray(groups) ? groups : []).map(membersOf).slice(0, groupsMax);
  const own = all.find((one) => one.get("name") === group);
  const delivered = textOf(own?.get("last-delivered-id"));
  const isCaughtUp = delivered === textOf(facts.get("last-generated-id"));
  const asked: RedisCommand[] = all.map((one) => ["xpending", stream, textOf(one.get("name"))]);
  const [next, ...pending] = await ask(link, [["xrange", stream, `(${delivered || "0-0"}`, "+", "COUNT", 1], ...asked]);
  const oldest = all.map((one, i) => oldestPending(pending[i]) ?? textOf(one.get("last-delivered-id")));
  const ownPending = own === undefined ? undefined : pending[all.indexOf(own)];
  const length = numberOf(facts.get("length")) ?? 0;
  const undelivered = isCaughtUp ? 0 : undeliveredOf(own, length);
  const pendingCount = numberOf(Array.isArray(ownPending) ? ownPending[0] : undefined);
  const waitingId = oldestPending(ownPending) ?? firstId(next);
  return {
    length,
    depth: undelivered === undefined || pendingCount === undefined ? undefined : undelivered + pendingCount,
    lagMs: waitingId === undefined ? 0 : ageOf(waitingId, clock.nowMs()),
    droppedUnread: droppedUnread(facts, own, delivered),
    neededFrom: all.length === groupsMax ? undefined : oldest.reduce<string | undefined>(smallerId, undefined),
  };
}

/** Groups that are looked at. With as many or more, nothing is trimmed. */
const groupsMax = 32;

/** Redis 7.0 counts what was trimmed before it was read as lag, for ever: the length of the stream is a second bound. */
function undeliveredOf(own: ReadonlyMap<string, unknown> | undefined, length: number): number | undefined {
  const lag = numberOf(own?.get("lag"));
  return lag === undefined ? undefined : Math.min(lag, length);
}

/** What is gone from the stream, without what the group had read: more than nothing when trimming has passed the group. */
function droppedUnread(facts: ReadonlyMap<string, unknown>, own: ReadonlyMap<string, unknown> | undefined, delivered: string): number {
  const added = numberOf(facts.get("entries-added"));
  const read = numberOf(own?.get("entries-read"));
  const length = numberOf(facts.get("length")) ?? 0;
  const first = firstId(Array.isArray(facts.get("first-entry")) ? [facts.get("first-entry")] : undefined);
  const hasPassed = first === undefined ? delivered !== textOf(facts.get("last-generated-id")) : compareIds(first, delivered) > 0;
  if (added === undefined || read === undefined || !hasPassed) return 0;
  return Math.max(0, added - length - read);
}

async function ask(link: RedisLink, commands: readonly RedisCommand[]): Promise<readonly unknown[]> {
  return (await link.pipeline(commands)).map(answered);
}

function answered(answer: RedisAnswer): unknown {
  if (answer.kind === "refused") throw answer.fault;
  return answer.value;
}

/** Redis' [name, value, name, value]. */
function membersOf(reply: unknown): ReadonlyMap<string, unknown> {
  const flat: readonly unknown[] = Array.isArray(reply) ? reply : [];
  const members = new Map<string, unknown>();
  for (let i = 0; i + 1 < flat.length; i += 2) members.set(textOf(flat[i]), flat[i + 1]);
  return members;
}

/** XPENDING answers [count, smallest id, largest id, consumers]. */
function oldestPending(reply: unknown): string | undefined {
  const id: unknown = Array.isArray(reply) ? reply[1] : undefined;
  return typeof id === "string" ? id : undefined;
}

function firstId(entries: unknown): string | undefined {
  const first: unknown = Array.isArray(entries) ? entries[0] : undefined;
  const id: unknown = Array.isArray(first) ? first[0] : undefined;
  return typeof id === "string" ? id : undefined;
}

function smallerId(a: string | undefined, b: string): string {
  return a !== undefined && compareIds(a, b) <= 0 ? a : b;
}

/** Order of ids: "5-2" < "5-10" < "6-0". */
export function compareIds(a: string, b: string): number {
  const [aMs = "0", aSeq = "0"] = a.split("-");
  const [bMs = "0", bSeq = "0"] = b.split("-");
  const byTime = Number(aMs) - Number(bMs);
  return byTime !== 0 ? byTime : Number(aSeq) - Number(bSeq);
}

function ageOf(id: string, nowMs: number): number | undefined {
  const ms = addedAtMs(id);
  return ms === undefined ? undefined : Math.max(0, nowMs - ms);
}

const numberOf = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined);
const textOf = (value: unknown): string => (typeof value === "string" ? value : "");
