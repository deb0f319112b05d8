/** First in, first out, without moving elements: a head index that catches up now and then. A Map that loses its oldest entry over and over walks its own gaps. */
export class Fifo<T> {
  #items: T[] = [];
  #head = 0;

  get size(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  peek(): T | undefined {
    return this.#items[this.#head];
  }

  shift(): T | undefined {
    const item = this.#items[this.#head];
    if (item === undefined) return undefined;
    this.#head += 1;
    if (this.#head > 1_024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** The oldest, at most `maxCount`; they stay. */
  oldest(maxCount: number): readonly T[] {
    return this.#items.slice(this.#head, this.#head + maxCount);
  }
}
