import { assert } from "../platform/assert.js";
import { limits } from "../platform/limits.js";
import { type Pending, PendingQueue } from "./pending.js";

/**
 * Whose turn an event takes. A flow's events keep their order, so all that must keep its order is one flow: a producer's events, those of a session
 * without a producer, and, of what comes by calls and entries, those of an MCP on one lane. Nobody can take the turns of others: a producer_id belongs to
 * the MCP that opened it, a session id is known to its peer alone, and an MCP's events are accepted only from who may act for it.
 */
export type Flow = string & { readonly __brand: "Flow" };

export function flowOf(kind: "producer" | "session" | "mcp", id: string): Flow {
  return `${kind} ${id}` as Flow; // the only place where flows are named
}

/** What one place in a statement is worth in bytes: an event costs its bytes, and never less than this. */
const placeBytes = Math.floor(limits.commitMaxBytes / limits.commitMaxEvents);

/** What a turn is worth. */
const turnBytes = limits.turnMaxEvents * placeBytes;

/**
 * The events that wait for a lane, taken in turns: deficit round robin (Shreedhar and Varghese, 1995). Whoever has events waiting has a turn, worth
 * `limits.turnMaxEvents` places in a statement; what a turn leaves over, because the next event costs more, is kept for the next one. A flow without events has
 * no turn and leaves nothing behind, so there are never more flows than events.
 *
 * An event of cost c, first of its flow, is taken after at most ceil(c / turn) turns of each other flow. Its cost is its bytes, as they count for
 * `commitMaxBytes`, but at least one place: both bounds of a statement are shared out. Each event is taken in O(1), and in O(its bytes / a turn's).
 */
export class FairQueue {
  readonly #lines = new Map<Flow, Line>();
  /** The end of the ring of lines, whose next is the one that has the turn. */
  #last: Line | undefined;
  /** The line of the last event that came: the next is nearly always of the same frame. */
  #newest: Line | undefined;
  #size = 0;

  /** Events. */
  get size(): number {
    return this.#size;
  }

  /** Flows that have events waiting. */
  get flowCount(): number {
    return this.#lines.size;
  }

  /** Whether events of a flow wait. */
  has(flow: Flow): boolean {
    return this.#lines.has(flow);
  }

  /** When the event that waits longest was received.     Units: monotonic ms; undefined when none waits. Asks every flow. */
  get oldestReceivedAtMs(): number | undefined {
    let oldestMs: number | undefined;
    for (const { queue } of this.#lines.values()) {
      const receivedAtMs = queue.peek()?.receivedAtMs;
      if (receivedAtMs !== undefined && (oldestMs === undefined || receivedAtMs < oldestMs)) oldestMs = receivedAtMs;
    }
    return oldestMs;
  }

  /** Puts an event behind all others of its flow. */
  push(flow: Flow, item: Pending): void {
    this.#size += 1;
    if (this.#newest?.flow === flow) {
      this.#newest.queue.push(item);
      return;
    }
    let line = this.#lines.get(flow);
    if (line === undefined) {
      line = new Line(flow);
      this.#lines.set(flow, line);
      this.#join(line);
    }
    line.queue.push(item);
    this.#newest = line;
  }

  /**
   * Takes the items of the next statement. What has the turn when the statement is full goes on with it in the next.
   * Bounds: `maxEvents` items and `maxBytes` of cost, but at least one item.
   */
  take(maxEvents: number, maxBytes: number): readonly Pending[] {
    const items: Pending[] = [];
    let bytes = 0;
    while (this.#last !== undefined && items.length < maxEvents) {
      const line = this.#last.next;
      const next = line.queue.peek();
      assert(next !== undefined, "a flow that has a turn has events");
      const { costBytes } = next.event;
      const cost = Math.max(costBytes, placeBytes);
      if (cost > line.credit) {
        line.credit += turnBytes;
        this.#last = line;
        continue;
      }
      bytes += costBytes;
      if (items.length > 0 && bytes > maxBytes) break;
      line.credit -= cost;
      line.queue.shift();
      items.push(next);
      if (line.queue.size === 0) this.#leave(this.#last, line);
    }
    this.#size -= items.length;
    return items;
  }

  /** Gives a line its turn after all others. */
  #join(line: Line): void {
    if (this.#last !== undefined) {
      line.next = this.#last.next;
      this.#last.next = line;
    }
    this.#last = line;
  }

  #leave(before: Line, line: Line): void {
    this.#lines.delete(line.flow);
    if (this.#newest === line) this.#newest = undefined;
    if (before === line) this.#last = undefined;
    else before.next = line.next;
  }
}

/** The events of one flow, oldest first. */
class Line {
  readonly flow: Flow;
  readonly queue = new PendingQueue();
  /** What may be taken before the turn is over: a turn's worth from the start. Unit: bytes. */
  credit = turnBytes;
  next: Line = this;

  constructor(flow: Flow) {
    this.flow = flow;
  }
}
