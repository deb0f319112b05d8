/** A queue ordered by time: the earliest first, equal times in any order. */
export class DueHeap<T> {
  readonly #items: { readonly dueMs: number; readonly value: T }[] = [];

  get size(): number {
    return this.#items.length;
  }

  /** When the earliest is due; undefined when empty. */
  get nextDueMs(): number | undefined {
    return this.#items[0]?.dueMs;
  }

  push(dueMs: number, value: T): void {
    const items = this.#items;
    const item = { dueMs, value };
    let at = items.length;
    items.push(item);
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = items[parentAt];
      if (parent === undefined || parent.dueMs <= dueMs) break;
      items[at] = parent;
      at = parentAt;
    }
    items[at] = item;
  }

  /** Takes the earliest; undefined when empty. */
  pop(): { readonly dueMs: number; readonly value: T } | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (first === undefined || last === undefined || items.length === 0) return first;
    let at = 0;
    for (;;) {
      const left = items[2 * at + 1];
      const right = items[2 * at + 2];
      const isRight = right !== undefined && left !== undefined && right.dueMs < left.dueMs;
      const child = isRight ? right : left;
      if (child === undefined || child.dueMs >= last.dueMs) break;
      items[at] = child;
      at = 2 * at + (isRight ? 2 : 1);
    }
    items[at] = last;
    return first;
  }
}
