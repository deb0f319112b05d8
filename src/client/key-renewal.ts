import { usableKey } from "./api-key.js";

/** Asks the owner of a session for another key, one question at a time. */
export class KeyRenewal {
  readonly #ask: (() => Promise<string | undefined>) | undefined;
  readonly #renewed: (key: string) => void;
  #isAsking = false;

  /** `renewed` is called with each new key. */
  constructor(ask: (() => Promise<string | undefined>) | undefined, renewed: (key: string) => void) {
    this.#ask = ask;
    this.#renewed = renewed;
  }

  /** Asks, unless nobody is there to be asked or an answer is still to come. Never rejects: without an answer, or with one that no header can hold, the key in use goes on until it is refused. */
  async request(): Promise<void> {
    if (this.#ask === undefined || this.#isAsking) return;
    this.#isAsking = true;
    try {
      const key = usableKey((await this.#ask()) ?? "");
      if (key !== undefined) this.#renewed(key);
    } catch {
      // The loop's edge: whoever has no key now is asked again when the coordinator next minds.
    } finally {
      this.#isAsking = false;
    }
  }
}
