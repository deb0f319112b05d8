import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import { StoreFault } from "./store.js";

/** How somebody waits for a turn. */
export type TurnOptions = {
  /** Whoever asked is gone: their turn never comes, and nobody else waits for it. A statement that has begun goes on to its end. */
  readonly signal?: AbortSignal | undefined;
  /** Before everybody who is not urgent, behind those who are. */
  readonly isUrgent?: boolean;
};

type Waiting = { readonly begin: () => void; readonly refuse: (thrown: unknown) => void };

/**
 * Who may use one of a few connections, in the order they asked. The driver has a queue of its own, but what waits there cannot be told from what a server does not
 * answer, is not bounded, and is carried out although nobody wants it any more.
 * Bound: `limits.poolWaitingMax` wait, `limits.poolWaitMaxMs` each.
 */
export class Turns {
  readonly #max: number;
  readonly #clock: Pick<Clock, "after">;
  readonly #urgent = new Set<Waiting>();
  readonly #waiting = new Set<Waiting>();
  #taken = 0;

  constructor(max: number, clock: Pick<Clock, "after">) {
    this.#max = max;
    this.#clock = clock;
  }

  /** Does `work` when its turn has come. Errors: those of `work`; StoreFault `POOL_BUSY`; the reason of the signal. */
  async take<T>(work: () => Promise<T>, options: TurnOptions = {}): Promise<T> {
    options.signal?.throwIfAborted();
    if (this.#taken < this.#max) this.#taken += 1;
    else await this.#wait(options);
    try {
      return await work();
    } finally {
      this.#passOn();
    }
  }

  /** Whoever waits hears `thrown` instead: what they wait for does not answer. */
  refuseAll(thrown: unknown): void {
    for (const one of [...this.#urgent, ...this.#waiting]) one.refuse(thrown);
  }

  #wait({ signal, isUrgent = false }: TurnOptions): Promise<void> {
    if (this.#urgent.size + this.#waiting.size >= limits.poolWaitingMax) throw busy(`${limits.poolWaitingMax} others wait for it`);
    const queue = isUrgent ? this.#urgent : this.#waiting;
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        queue.delete(waiting);
        cancel();
        signal?.removeEventListener("abort", abandon);
      };
      const waiting: Waiting = {
        begin: () => {
          leave();
          resolve();
        },
        refuse: (thrown) => {
          leave();
          reject(thrown);
        },
      };
      const abandon = (): void => waiting.refuse(signal?.reason);
      const cancel = this.#clock.after(limits.poolWaitMaxMs, () => waiting.refuse(busy(`none was free for ${limits.poolWaitMaxMs} ms`)));
      signal?.addEventListener("abort", abandon, { once: true });
      queue.add(waiting);
    });
  }

  /** A turn is over: the next one begins, or there is one more to be taken. */
  #passOn(): void {
    const [next] = this.#urgent.size > 0 ? this.#urgent : this.#waiting;
    if (next === undefined) this.#taken -= 1;
    else next.begin();
  }
}

function busy(why: string): StoreFault {
  return new StoreFault("transient", "POOL_BUSY", `every connection to the database is in use, and ${why}`);
}
