/** Callers that wait for something about one session to become true. */
export class Waiters {
  readonly #waiting = new Set<() => void>();

  /** Resolves when `condition` holds; it is asked now and after each `wake`. Never rejects. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.add(resolve));
  }

  /** Something has changed. */
  wake(): void {
    if (this.#waiting.size === 0) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resolve of waiting) resolve();
  }
}
