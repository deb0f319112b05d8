import type { Verdict } from "../../ingest/verdict.js";
import { deadLetterKey, entryFields, verdictFields } from "../../interaction/redis-contract.js";
import { limits } from "../../platform/limits.js";
import type { Logger } from "../../platform/log.js";
import { type RedisArgument, type RedisCommand, RedisFault } from "../../platform/redis-connection.js";
import { type Fate, reasonOf } from "./fate.js";
import type { Flight } from "./flights.js";
import type { RedisLink } from "./link.js";

/** An entry that Redis is to be told about. `gone`: it was trimmed before it could be read; there is no verdict to speak of. */
export type Settled = { readonly flight: Flight; readonly verdict: Verdict; readonly fate: Exclude<Fate, "left"> | "gone" };

export type OutletDeps = {
  readonly stream: string;
  readonly group: string;
  readonly log: Logger;
  /** Redis knows; the entry is no longer ours. `isKept` is false when a dead letter could not be written: then the entry stays pending. */
  readonly onDone: (settled: Settled, isKept: boolean) => void;
  readonly onFailed: (fault: RedisFault, link: RedisLink) => void;
};

/**
 * Tells Redis what became of entries: dead letters are written first, then, in one transaction, verdicts for those who wait and XACK. One round at a time;
 * what is settled meanwhile goes with the next. What could not be told waits for the next link: entries are acknowledged late or twice, never too early.
 */
export class AckOutlet {
  readonly #deps: OutletDeps;
  #waiting: Settled[] = [];
  #link: RedisLink | undefined;
  #isBusy = false;

  constructor(deps: OutletDeps) {
    this.#deps = deps;
  }

  push(settled: Settled): void {
    this.#waiting.push(settled);
  }

  /** From now on this link is used; undefined: none, and everything waits. */
  use(link: RedisLink | undefined): void {
    this.#link = link;
    this.flush();
  }

  /** Begins to tell what waits, unless that is under way. */
  flush(): void {
    if (!this.#isBusy) void this.#run();
  }

  /** Never rejects: the loop's edge, where failure ends the link and becomes waiting. */
  async #run(): Promise<void> {
    this.#isBusy = true;
    while (this.#waiting.length > 0 && this.#link !== undefined) {
      const link = this.#link;
      const round = this.#waiting.splice(0, limits.redisAckMaxEntries);
      try {
        const unkept = await this.#bury(link, round);
        const told = unkept.size === 0 ? round : round.filter((one) => !unkept.has(one));
        await this.#acknowledge(link, told);
        for (const one of round) this.#deps.onDone(one, !unkept.has(one));
      } catch (thrown) {
        this.#waiting = [...round, ...this.#waiting];
        if (this.#link === link) this.#link = undefined;
        this.#deps.onFailed(RedisFault.from(thrown), link);
      }
    }
    this.#isBusy = false;
  }

  /**
   * Not in the transaction that acknowledges: Redis does not undo, and an XACK behind a refused XADD would lose the entry. After a crash between the two
   * a dead letter stands twice.     Shape: those that Redis refused to keep.
   */
  async #bury(link: RedisLink, round: readonly Settled[]): Promise<ReadonlySet<Settled>> {
    const dead = round.filter(({ fate }) => fate === "dead");
    const unkept = new Set<Settled>();
    if (dead.length === 0) return unkept;
    const answers = await link.pipeline(dead.map((one) => deadLetter(this.#deps.stream, one)));
    for (const [i, answer] of answers.entries()) {
      const one = dead[i];
      if (one === undefined || answer.kind === "ok") continue;
      this.#deps.log.error({ entry: one.flight.id, err: answer.fault }, "a dead letter was refused by Redis: the entry stays pending");
      unkept.add(one);
    }
    return unkept;
  }

  async #acknowledge(link: RedisLink, round: readonly Settled[]): Promise<void> {
    if (round.length === 0) return;
    const commands: RedisCommand[] = [];
    const replyKeys = new Set<string>();
    for (const one of round) {
      const { replyTo } = one.flight;
      if (replyTo === undefined) continue;
      commands.push(verdictEntry(replyTo, one));
      replyKeys.add(replyTo);
    }
    for (const key of replyKeys) commands.push(["pexpire", key, limits.redisVerdictKeepMs]);
    commands.push(["xack", this.#deps.stream, this.#deps.group, ...round.map(({ flight }) => flight.id)]);
    const answers = commands.length === 1 ? await link.pipeline(commands) : await link.transaction(commands);
    // A verdict that Redis refuses, for example because its key holds something else, is the loss of the one who named the key.
    const last = answers.at(-1);
    if (last?.kind === "refused") throw last.fault;
  }
}

function verdictEntry(key: string, { flight, verdict }: Settled): RedisCommand {
  const fields: RedisArgument[] = [verdictFields.entry, flight.id, verdictFields.eventId, verdict.eventId];
  fields.push(verdictFields.verdict, verdict.status.toUpperCase(), verdictFields.retryable, verdict.retryable ? "1" : "0");
  fields.push(verdictFields.reason, reasonOf(verdict));
  return ["xadd", key, "MAXLEN", "~", limits.redisVerdictStreamMaxEntries, "*", ...fields];
}

/** The entry as it was, but for its key, and what became of it. */
function deadLetter(stream: string, { flight, verdict }: Settled): RedisCommand {
  const fields: RedisArgument[] = ["dead_entry", flight.id, "dead_verdict", verdict.status.toUpperCase(), "dead_reason", reasonOf(verdict)];
  fields.push("dead_deliveries", flight.deliveries);
  for (const { name, value } of flight.fields) {
    if (name !== entryFields.apiKey) fields.push(Buffer.from(name), Buffer.from(value));
  }
  return ["xadd", deadLetterKey(stream), "MAXLEN", "~", limits.redisDeadLetterMaxEntries, "*", ...fields];
}
