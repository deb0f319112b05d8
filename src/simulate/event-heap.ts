/** What is to happen, by simulated time: the earliest first, equal times in the order in which they were scheduled, so that a run never depends on the heap. */
export class EventHeap {
  #size = 0;
  #scheduled = 0;
  readonly #atMs: number[] = [];
  readonly #order: number[] = [];
  readonly #run: ((nowMs: number) => void)[] = [];

  get size(): number {
    return this.#size;
  }

  /** When the earliest is due; Infinity when there is none. */
  get nextMs(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : (this.#atMs[0] ?? Number.POSITIVE_INFINITY);
  }

  schedule(atMs: number, run: (nowMs: number) => void): void {
    const order = this.#scheduled++;
    let at = this.#size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#isLater(parent, atMs, order)) break;
      this.#move(parent, at);
      at = parent;
    }
    this.#put(at, atMs, order, run);
  }

  /** Takes the earliest and runs it. False when there was none. */
  runNext(): boolean {
    const run = this.#run[0];
    const nowMs = this.#atMs[0];
    if (this.#size === 0 || run === undefined || nowMs === undefined) return false;
    this.#removeFirst();
    run(nowMs);
    return true;
  }

  #removeFirst(): void {
    const last = --this.#size;
    const atMs = this.#atMs.pop() ?? 0;
    const order = this.#order.pop() ?? 0;
    const run = this.#run.pop();
    if (last === 0 || run === undefined) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= last) break;
      if (child + 1 < last && this.#isLater(child, this.#atMs[child + 1] ?? 0, this.#order[child + 1] ?? 0)) child++;
      if (this.#isLater(child, atMs, order)) break;
      this.#move(child, at);
      at = child;
    }
    this.#put(at, atMs, order, run);
  }

  /** Whether the entry at `index` comes after the given one. */
  #isLater(index: number, atMs: number, order: number): boolean {
    const other = this.#atMs[index] ?? 0;
    return other > atMs || (other === atMs && (this.#order[index] ?? 0) > order);
  }

  #move(from: number, to: number): void {
    const run = this.#run[from];
    if (run !== undefined) this.#put(to, this.#atMs[from] ?? 0, this.#order[from] ?? 0, run);
  }

  #put(at: number, atMs: number, order: number, run: (nowMs: number) => void): void {
    this.#atMs[at] = atMs;
    this.#order[at] = order;
    this.#run[at] = run;
  }
}
