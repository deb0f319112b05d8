import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { FairQueue, type Flow, flowOf } from "../../../src/ingest/fair-queue.js";
import type { Pending } from "../../../src/ingest/pending.js";
import type { NewEvent } from "../../../src/interaction/event.js";
import { limits } from "../../../src/platform/limits.js";
import { eventOf } from "../../support/event.js";

const placeBytes = Math.floor(limits.commitMaxBytes / limits.commitMaxEvents);
const turnBytes = limits.turnMaxEvents * placeBytes;
const largestBytes = 40 * placeBytes;
const origin = { settled: () => {}, flushed: () => {} };
const anEvent = eventOf();

const itemOf = (costBytes: number, receivedAtMs: number): Pending => ({
  event: { ...anEvent, costBytes } satisfies NewEvent,
  origin,
  receivedAtMs,
});
const flows = Array.from({ length: 6 }, (_, number) => flowOf("producer", `p-${number}`));
const flowAt = (number: number): Flow => flows[number] ?? flowOf("producer", "none");
const costOf = ({ event }: Pending): number => Math.max(event.costBytes, placeBytes);
const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, one) => sum + one, 0);

/** What a queue is asked to do: take events of a flow in, or give up to so much. */
type Act =
  | { readonly kind: "push"; readonly flow: number; readonly sizes: readonly number[] }
  | { readonly kind: "take"; readonly maxEvents: number; readonly maxBytes: number };

const size = fc.oneof({ weight: 6, arbitrary: fc.integer({ min: 600, max: placeBytes }) }, fc.integer({ min: 600, max: largestBytes }));
const push: fc.Arbitrary<Act> = fc.record({
  kind: fc.constant("push" as const),
  flow: fc.nat({ max: flows.length - 1 }),
  sizes: fc.array(size, { minLength: 1, maxLength: 30 }),
});
const take: fc.Arbitrary<Act> = fc.record({
  kind: fc.constant("take" as const),
  maxEvents: fc.integer({ min: 1, max: 40 }),
  maxBytes: fc.integer({ min: 600, max: 60 * placeBytes }),
});
const acts = fc.array(fc.oneof({ weight: 2, arbitrary: push }, take), { maxLength: 60 });

/** A queue beside lists that say what it should hold. */
class Pair {
  readonly queue = new FairQueue();
  readonly lines = new Map<Flow, Pending[]>();
  /** What was taken, in order. */
  readonly taken: { readonly flow: Flow; readonly item: Pending }[] = [];
  /** For the first event of each flow: how much had been taken when it became the first. */
  readonly firstSince = new Map<Flow, number>();
  readonly #flowOf = new Map<Pending, Flow>();
  #now = 0;

  play(act: Act): void {
    if (act.kind === "push") for (const bytes of act.sizes) this.push(flowAt(act.flow), bytes);
    else this.take(act.maxEvents, act.maxBytes);
    const waiting = [...this.lines.values()].filter((line) => line.length > 0);
    expect(this.queue.size).toBe(sumOf(waiting.map((line) => line.length)));
    expect(this.queue.flowCount).toBe(waiting.length);
    const oldest = waiting.map((line) => line[0]?.receivedAtMs ?? Number.NaN);
    expect(this.queue.oldestReceivedAtMs).toBe(oldest.length === 0 ? undefined : Math.min(...oldest));
    for (const [flow, line] of this.lines) expect(this.queue.has(flow)).toBe(line.length > 0);
  }

  push(flow: Flow, bytes: number): void {
    this.#now += 1;
    const item = itemOf(bytes, this.#now);
    this.#flowOf.set(item, flow);
    const line = this.lines.get(flow) ?? [];
    this.lines.set(flow, line);
    if (line.push(item) === 1) this.firstSince.set(flow, this.taken.length);
    this.queue.push(flow, item);
  }

  take(maxEvents: number, maxBytes: number): readonly Pending[] {
    const items = this.queue.take(maxEvents, maxBytes);
    for (const item of items) {
      const flow = this.#flowOf.get(item) ?? flowOf("mcp", "of nobody");
      expect(this.lines.get(flow)?.shift(), "the oldest of its flow, once").toBe(item);
      this.checkWait(flow, item);
      this.taken.push({ flow, item });
      this.firstSince.set(flow, this.taken.length);
    }
    const bytes = sumOf(items.map(({ event }) => event.costBytes));
    expect(items.length).toBeLessThanOrEqual(maxEvents);
    if (items.length > 1) expect(bytes).toBeLessThanOrEqual(maxBytes);
    // Nothing waits while there is room: a statement is full, or the next event of some flow does not fit into it.
    const nextBytes = [...this.lines.values()].flatMap(([first]) => (first === undefined ? [] : [first.event.costBytes]));
    if (nextBytes.length > 0 && items.length < maxEvents) expect(bytes + Math.max(...nextBytes)).toBeGreaterThan(maxBytes);
    return items;
  }

  /** No flow has more than the turns that an event of this cost may wait, and what it had left over from the turn before. */
  checkWait(flow: Flow, item: Pending): void {
    const others = new Map<Flow, number>();
    for (const other of this.taken.slice(this.firstSince.get(flow))) {
      if (other.flow !== flow) others.set(other.flow, (others.get(other.flow) ?? 0) + costOf(other.item));
    }
    const mostBytes = Math.ceil(costOf(item) / turnBytes) * turnBytes + largestBytes;
    for (const [, bytes] of others) expect(bytes).toBeLessThan(mostBytes);
  }
}

describe("FairQueue", () => {
  test("keeps the order of each flow, gives everything once, lets none wait for more than its turns, and forgets who has nothing left", () => {
    fc.assert(
      fc.property(acts, (played) => {
        const pair = new Pair();
        for (const act of played) pair.play(act);
        while (pair.queue.size > 0) pair.play({ kind: "take", maxEvents: 40, maxBytes: 60 * placeBytes });
        const pushed = sumOf(played.map((act) => (act.kind === "push" ? act.sizes.length : 0)));
        expect(pair.taken.length).toBe(pushed);
        expect(pair.queue.flowCount).toBe(0);
        expect(pair.queue.take(10, 10)).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  it("gives flows that always have events the same share of bytes, whatever the size of their events", () => {
    const queue = new FairQueue();
    const sizes = [600, placeBytes, 3 * placeBytes, largestBytes];
    const bytes = new Map<number, number>();
    for (const [number, each] of sizes.entries()) for (let i = 0; i < 4_000; i += 1) queue.push(flowAt(number), itemOf(each, 0));
    for (let statements = 0; statements < 4; statements += 1) {
      for (const item of queue.take(limits.commitMaxEvents, limits.commitMaxBytes)) {
        bytes.set(item.event.costBytes, (bytes.get(item.event.costBytes) ?? 0) + costOf(item));
      }
    }
    const shares = sizes.map((each) => bytes.get(each) ?? 0);
    expect(Math.max(...shares) - Math.min(...shares)).toBeLessThan(largestBytes + turnBytes);
  });

  it("takes the lone event of a flow into the next statement, whatever waits before it", () => {
    const queue = new FairQueue();
    for (let flood = 0; flood < 3; flood += 1) for (let i = 0; i < 6_000; i += 1) queue.push(flowAt(flood), itemOf(600, 0));
    queue.take(limits.commitMaxEvents, limits.commitMaxBytes);
    const lone = itemOf(600, 1);
    queue.push(flowAt(5), lone);
    const next = queue.take(limits.commitMaxEvents, limits.commitMaxBytes);
    expect(next).toHaveLength(limits.commitMaxEvents);
    expect(next.indexOf(lone)).toBeGreaterThanOrEqual(0);
    expect(next.indexOf(lone)).toBeLessThanOrEqual(3 * limits.turnMaxEvents);
  });

  it("takes a statement of nothing but the one flow that there is, in order", () => {
    const queue = new FairQueue();
    const items = Array.from({ length: 5_000 }, (_, at) => itemOf(600, at));
    for (const item of items) queue.push(flowAt(0), item);
    expect(queue.take(2_000, limits.commitMaxBytes)).toEqual(items.slice(0, 2_000));
    expect(queue.take(2_000, limits.commitMaxBytes)).toEqual(items.slice(2_000, 4_000));
    expect(queue.take(2_000, limits.commitMaxBytes)).toEqual(items.slice(4_000));
    expect([queue.size, queue.flowCount]).toEqual([0, 0]);
  });

  it("goes on in the next statement with the flow that had the turn: a full statement costs nobody its turn", () => {
    const queue = new FairQueue();
    for (let flow = 0; flow < 2; flow += 1) for (let i = 0; i < 100; i += 1) queue.push(flowAt(flow), itemOf(600 + flow, 0));
    const [few, many] = [3, 2 * limits.turnMaxEvents];
    const order: number[] = [];
    for (let i = 0; i < 2 * many; i += few) order.push(...queue.take(few, limits.commitMaxBytes).map(({ event }) => event.costBytes - 600));
    const turn = (flow: number): number[] => new Array<number>(limits.turnMaxEvents).fill(flow);
    expect(order.slice(0, many)).toEqual([...turn(0), ...turn(1)]);
  });

  it("takes an event that is larger than a statement by itself", () => {
    const queue = new FairQueue();
    const huge = itemOf(2 * limits.commitMaxBytes, 0);
    queue.push(flowAt(0), huge);
    expect(queue.take(10, limits.commitMaxBytes)).toEqual([huge]);
  });
});

describe("flowOf", () => {
  it("keeps producers, sessions and MCPs of one name apart", () => {
    expect(new Set([flowOf("producer", "ocr"), flowOf("session", "ocr"), flowOf("mcp", "ocr")]).size).toBe(3);
  });
});
