import { type Clock, systemClock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import { usableKey } from "./api-key.js";

/** Asks the owner of a session for another key, one question at a time: one without an answer in `limits.keyRenewalMaxMs` is no longer waited for. */
export class KeyRenewal {
  readonly #ask: (() => Promise<string | undefined>) | undefined;
  readonly #renewed: (key: string) => void;
  readonly #clock: Pick<Clock, "after">;
  #isAsking = false;
  #asked = 0;
  /** The newest question that brought a key. */
  #answered = 0;

  /** `renewed` is called with each new key. */
  constructor(
    ask: (() => Promise<string | undefined>) | undefined,
    renewed: (key: string) => void,
    clock: Pick<Clock, "after"> = systemClock,
  ) {
    this.#ask = ask;
    this.#renewed = renewed;
    this.#clock = clock;
  }

  /**
   * Asks, unless nobody is there to be asked or an answer is still to come. Never rejects: without an answer, or with one that no header can hold, the key in use goes on until it is refused.
   * An answer that comes late is as good as another, unless a newer question was answered before.
   */
  request(): Promise<void> {
    const ask = this.#ask;
    if (ask === undefined || this.#isAsking) return Promise.resolve();
    this.#isAsking = true;
    this.#asked += 1;
    const question = this.#asked;
    return new Promise((resolve) => {
      const end = (): void => {
        cancel();
        if (question === this.#asked) this.#isAsking = false;
        resolve();
      };
      const cancel = this.#clock.after(limits.keyRenewalMaxMs, end);
      void this.#hear(ask, question).then(end);
    });
  }

  async #hear(ask: () => Promise<string | undefined>, question: number): Promise<void> {
    try {
      const key = usableKey((await ask()) ?? "");
      if (key === undefined || question < this.#answered) return;
      this.#answered = question;
      this.#renewed(key);
    } catch {
      // The loop's edge: whoever has no key now is asked again when the coordinator next minds.
    }
  }
}
