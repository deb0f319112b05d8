import type { Clock } from "../../platform/clock.js";
import { limits } from "../../platform/limits.js";

/**
 * The time by which events in a spool grow old. A wall clock that jumps forward, as one does that is set by hand or was frozen with its machine, must not make a week
 * of a moment. So this one starts with the wall and goes on with what cannot jump; where the wall is behind it, the wall counts: of the two, the one by which less is too old.
 * What the wall did before the spool was opened nobody can tell: for `limits.spoolAgeGraceMs` nothing is too old.
 */
export class AgeClock {
  readonly #clock: Pick<Clock, "nowMs" | "monotonicMs">;
  readonly #openedWallMs: number;
  readonly #openedMs: number;

  constructor(clock: Pick<Clock, "nowMs" | "monotonicMs">) {
    this.#clock = clock;
    this.#openedWallMs = clock.nowMs();
    this.#openedMs = clock.monotonicMs();
  }

  /** Units: ms since the Unix epoch. */
  nowMs(): number {
    return Math.min(this.#clock.nowMs(), this.#openedWallMs + this.#elapsedMs);
  }

  /** Whether age may be judged at all yet. */
  get mayJudge(): boolean {
    return this.#elapsedMs >= limits.spoolAgeGraceMs;
  }

  get #elapsedMs(): number {
    return this.#clock.monotonicMs() - this.#openedMs;
  }
}
