import type { Logger } from "pino";
import type { Clock } from "../platform/clock.js";
import type { FieldFault } from "../platform/errors.js";
import { limits } from "../platform/limits.js";

/**
 * Something that the caller of a report does not see.
 * `options`: nothing can be reported with these. `refused`: a report was not taken, its fields break rules. `full`: one was not taken, there is no room. `spool`: the disk
 * does not take events. `set_aside`: the coordinator refuses an event for good; it is kept. `unresolved`: the reporter was closed before all was settled. `transport`:
 * one cannot be used before somebody has done something about it. `callback`: a function that the reporter was given has thrown. `remark`: about the configuration file.
 */
export type TroubleKind = "options" | "refused" | "full" | "spool" | "set_aside" | "unresolved" | "transport" | "callback" | "remark";

export type Trouble = {
  readonly kind: TroubleKind;
  /** A sentence with the next step, for people. */
  readonly message: string;
  /** Of a report that was refused. */
  readonly faults: readonly FieldFault[];
  /** Wall time. */
  readonly atMs: number;
};

export type TroublesDeps = {
  readonly clock: Pick<Clock, "nowMs" | "monotonicMs">;
  readonly log: Logger | undefined;
  readonly onTrouble: ((trouble: Trouble) => void) | undefined;
};

/** Keeps what went wrong where it can be seen: each is counted and told; the log gets one line of a kind in `limits.troubleLogMs`, with how many there were. */
export class Troubles {
  readonly #deps: TroublesDeps;
  readonly #recent: Trouble[] = [];
  readonly #counts = new Map<TroubleKind, { total: number; logged: number; loggedMs: number }>();

  constructor(deps: TroublesDeps) {
    this.#deps = deps;
  }

  /** The latest, oldest first; at most `limits.recentTroublesMax`. */
  get recent(): readonly Trouble[] {
    return [...this.#recent];
  }

  countOf(kind: TroubleKind): number {
    return this.#counts.get(kind)?.total ?? 0;
  }

  tell(kind: TroubleKind, message: string, faults: readonly FieldFault[] = []): void {
    const trouble: Trouble = { kind, message, faults, atMs: this.#deps.clock.nowMs() };
    this.#recent.push(trouble);
    if (this.#recent.length > limits.recentTroublesMax) this.#recent.shift();
    this.#log(trouble);
    this.run(() => this.#deps.onTrouble?.(trouble));
  }

  /** Runs a function of the owner's. What it throws is trouble, and goes no further. */
  run(task: () => void): void {
    try {
      task();
    } catch (thrown) {
      // The loop's edge: it becomes state. Not told to onTrouble, which may be what has thrown.
      const message = `a callback of the reporter has thrown: ${thrown instanceof Error ? thrown.message : typeof thrown}`;
      this.#log({ kind: "callback", message, faults: [], atMs: this.#deps.clock.nowMs() });
    }
  }

  #log(trouble: Trouble): void {
    const nowMs = this.#deps.clock.monotonicMs();
    const count = this.#counts.get(trouble.kind) ?? { total: 0, logged: 0, loggedMs: Number.NEGATIVE_INFINITY };
    count.total += 1;
    this.#counts.set(trouble.kind, count);
    if (nowMs - count.loggedMs < limits.troubleLogMs) return;
    const { kind, message, faults } = trouble;
    this.#deps.log?.warn({ kind, faults, count: count.total - count.logged }, message);
    count.logged = count.total;
    count.loggedMs = nowMs;
  }
}
