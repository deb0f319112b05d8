import { limits } from "../platform/limits.js";
import type { Logger } from "../platform/log.js";
import type { Store } from "../store/store.js";
import type { DrainReasonName } from "../wire/frame.js";

/** A session as far as fencing goes. `epoch` 0 means that it has no producer. */
export type FencedSession = {
  readonly producerId: string;
  readonly epoch: number;
  /** Monotonic time at which the store last proved its epoch. */
  readonly provedAtMs: number;
  readonly isClosed: boolean;
  readonly fence: () => void;
  readonly drain: (reason: Exclude<DrainReasonName, "credential_expiry">, untilMs: number) => void;
};

export type FenceWatchDeps = { readonly readEpochs: Store["readEpochs"]; readonly log: Logger };

/**
 * Finds sessions whose producer has gone on to another coordinator. A commit finds that by itself, so only those are asked about that have stored nothing
 * for `limits.fenceCheckIntervalMs`. One statement at a time; one that fails is tried again at the next round, because it decides nothing by itself:
 * a superseded session stores nothing, found or not.
 */
export class FenceWatch {
  readonly #deps: FenceWatchDeps;
  #isAsking = false;
  #askedAtMs = 0;

  constructor(deps: FenceWatchDeps) {
    this.#deps = deps;
  }

  /** Asks when it is time to. Units: `nowMs` is monotonic. */
  tick(nowMs: number, sessions: Iterable<FencedSession>): void {
    if (this.#isAsking || nowMs - this.#askedAtMs < limits.fenceCheckIntervalMs) return;
    const silent = [...sessions].filter((one) => one.epoch > 0 && !one.isClosed && nowMs - one.provedAtMs >= limits.fenceCheckIntervalMs);
    this.#askedAtMs = nowMs;
    if (silent.length === 0) return;
    this.#isAsking = true;
    void this.#ask(silent, nowMs).finally(() => {
      this.#isAsking = false;
    });
  }

  /** Never rejects: the loop's edge, where a store that is away means that nothing is known yet. */
  async #ask(sessions: readonly FencedSession[], nowMs: number): Promise<void> {
    try {
      for (let start = 0; start < sessions.length; start += limits.fenceCheckMaxCount) {
        const some = sessions.slice(start, start + limits.fenceCheckMaxCount);
        const epochs = await this.#deps.readEpochs(some.map(({ producerId }) => producerId));
        for (const session of some) judge(session, epochs.get(session.producerId), nowMs);
      }
    } catch (thrown) {
      this.#deps.log.debug({ err: thrown }, "epochs of silent sessions could not be read");
    }
  }
}

/** A producer that retention has forgotten is fenced by nobody, but its session can store nothing: a new Hello makes it known again. */
function judge(session: FencedSession, epoch: number | undefined, nowMs: number): void {
  if (epoch === undefined) session.drain("session_age", nowMs + limits.sessionDrainMs);
  else if (epoch > session.epoch) session.fence();
}
