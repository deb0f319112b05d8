/**
 * What taking turns costs: the queue of a lane beside the first-in-first-out queue that it replaced, in one process, in alternating rounds. No store: events
 * are put in and taken out in statements, and whoever had events taken brings as many again.
 * `npx tsx bench/fair-queue.ts` prints nanoseconds of processor time per event, the median of the rounds. Settings: ROUNDS, EVENTS (per round).
 */
import { FairQueue, type Flow, flowOf } from "../src/ingest/fair-queue.js";
import type { Pending } from "../src/ingest/pending.js";
import { type NewEvent, parseInteractionId, parseMcpId } from "../src/interaction/event.js";
import { limits } from "../src/platform/limits.js";

/** What both queues can do. */
type Contender = {
  readonly push: (flow: Flow, item: Pending) => unknown;
  readonly take: (maxEvents: number, maxBytes: number) => readonly Pending[];
};

/** `frame`: events that a flow brings at a time. */
type Load = { readonly title: string; readonly flows: number; readonly inFlight: number; readonly frame: number };

const loads: readonly Load[] = [
  { title: "1 flow × 2,000, single events", flows: 1, inFlight: 2_000, frame: 1 },
  { title: "50 flows × 200, single events", flows: 50, inFlight: 200, frame: 1 },
  { title: "50 flows × 200, frames of 50", flows: 50, inFlight: 200, frame: 50 },
  { title: "5,000 flows × 1", flows: 5_000, inFlight: 1, frame: 1 },
];

const rounds = numberOf("ROUNDS", 31);
const events = numberOf("EVENTS", 200_000);

for (const load of loads) {
  const times = { fifo: [] as number[], fair: [] as number[] };
  for (let round = 0; round <= rounds; round += 1) {
    const [fifo, fair] =
      round % 2 === 0
        ? [measure(createFifo(), load), measure(createFair(), load)]
        : [measure(createFair(), load), measure(createFifo(), load)].reverse();
    // The first round is for the compiler.
    if (round === 0 || fifo === undefined || fair === undefined) continue;
    times.fifo.push(fifo);
    times.fair.push(fair);
  }
  const [fifo, fair] = [medianOf(times.fifo), medianOf(times.fair)];
  process.stdout.write(
    `${load.title.padEnd(32)} first in, first out ${fifo.toFixed(0).padStart(4)} ns   in turns ${fair.toFixed(0).padStart(4)} ns\n`,
  );
}

/** Nanoseconds of processor time per event. */
function measure(queue: Contender, { flows, inFlight, frame }: Load): number {
  const names = Array.from({ length: flows }, (_, number) => flowOf("producer", `producer-${number}`));
  const flowsOfItems = new Map<Pending, Flow>();
  const items = names.map((flow) =>
    Array.from({ length: inFlight }, () => {
      const item = itemOf();
      flowsOfItems.set(item, flow);
      return item;
    }),
  );
  for (let at = 0; at < inFlight; at += frame) {
    for (const [number, flow] of names.entries()) for (const item of items[number]?.slice(at, at + frame) ?? []) queue.push(flow, item);
  }
  const again = new Map<Flow, Pending[]>();
  let spentUs = 0;
  let done = 0;
  while (done < events) {
    const before = process.cpuUsage();
    const taken = queue.take(limits.commitMaxEvents, limits.commitMaxBytes);
    spentUs += microsSince(before);
    done += taken.length;
    const returning = frame === 1 ? taken.map((item) => [item]) : framesOf(taken, flowsOfItems, again, frame);
    const calls = returning.flatMap((one) => one.map((item) => ({ flow: flowsOfItems.get(item) ?? flowOf("mcp", ""), item })));
    const pushed = process.cpuUsage();
    for (const { flow, item } of calls) queue.push(flow, item);
    spentUs += microsSince(pushed);
  }
  return (spentUs * 1_000) / done;
}

/** Processor time and not that of a clock: on a busy machine the others would be measured. */
function microsSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

/** What comes back in frames: a flow brings events again once it has a frame of them together. */
function framesOf(taken: readonly Pending[], flows: ReadonlyMap<Pending, Flow>, again: Map<Flow, Pending[]>, frame: number): Pending[][] {
  const frames: Pending[][] = [];
  for (const item of taken) {
    const flow = flows.get(item);
    if (flow === undefined) continue;
    const held = again.get(flow) ?? [];
    held.push(item);
    again.set(flow, held);
    if (held.length < frame) continue;
    frames.push(held);
    again.delete(flow);
  }
  return frames;
}

/** The queue as it was before there were turns: one line for a lane. */
function createFifo(): Contender {
  let waiting: Pending[] = [];
  let head = 0;
  const shift = (): void => {
    head += 1;
    if (head > 1024 && head * 2 > waiting.length) {
      waiting = waiting.slice(head);
      head = 0;
    }
  };
  const take = (maxEvents: number, maxBytes: number): readonly Pending[] => {
    const items: Pending[] = [];
    let bytes = 0;
    for (let next = waiting[head]; next !== undefined && items.length < maxEvents; next = waiting[head]) {
      bytes += next.event.costBytes;
      if (items.length > 0 && bytes > maxBytes) break;
      shift();
      items.push(next);
    }
    return items;
  };
  return { push: (_, item) => waiting.push(item), take };
}

function createFair(): Contender {
  const queue = new FairQueue();
  return { push: (flow, item) => queue.push(flow, item), take: (maxEvents, maxBytes) => queue.take(maxEvents, maxBytes) };
}

function itemOf(): Pending {
  const event: NewEvent = {
    eventId: "019c8b5e-0000-7000-8000-000000000000",
    mcpId: parseMcpId("demo"),
    interactionId: parseInteractionId("i"),
    producerId: "p",
    epoch: 1,
    sequence: 1n,
    resumeSequence: 1n,
    kind: "progress",
    occurredAtUs: 0,
    digest: "",
    body: "{}",
    raw: undefined,
    facts: { kind: "progress" },
    source: "grpc",
    encodedBytes: 120,
    costBytes: 1_000,
  };
  return { event, origin: { settled: () => {}, flushed: () => {} }, receivedAtMs: 0 };
}

function medianOf(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}

function numberOf(name: string, fallback: number): number {
  const value = Number(process.env[name] ?? fallback);
  if (!Number.isInteger(value) || value < 1) throw new Error(`${name} must be a positive whole number`);
  return value;
}
