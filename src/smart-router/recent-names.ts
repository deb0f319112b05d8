/** The last `max` names that were added. */
export class RecentNames {
  readonly #names: string[] = [];
  readonly #known = new Set<string>();
  readonly #max: number;
  #next = 0;

  constructor(max: number) {
    this.#max = max;
  }

  has(name: string): boolean {
    return this.#known.has(name);
  }

  /** Adding one that is known changes nothing. */
  add(name: string): void {
    if (this.#known.has(name)) return;
    const oldest = this.#names[this.#next];
    if (oldest !== undefined) this.#known.delete(oldest);
    this.#names[this.#next] = name;
    this.#known.add(name);
    this.#next = (this.#next + 1) % this.#max;
  }
}
