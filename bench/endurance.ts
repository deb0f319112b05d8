import type { LoadResult } from "./load-client.js";
import type { BenchPostgres } from "./postgres.js";
import { residentBytes } from "./processes.js";
import { ours, type Row } from "./rows.js";

const mib = 1024 * 1024;
const sampleMs = 500;
/** The shape of every endurance load: 50 streams, 200 in flight each, single events. */
const shape = { streams: 50, window: 200, batch: 1, payloadBytes: 0, warmupMs: 2_000 };

/** Resident memory over one run, in MiB. `growth` compares the medians of its second and its last fifth: what is before is warm-up. */
type Memory = { readonly samples: readonly number[]; readonly peak: number; readonly growth: number };
export type Endurance = {
  readonly id: "many" | "long";
  readonly what: string;
  readonly memory: Memory;
  readonly load: LoadResult | undefined;
};

/** Streams `events` events to a fresh coordinator. */
export async function streamMany(postgres: BenchPostgres, id: Endurance["id"], events: number, batch: number): Promise<Endurance> {
  const row = await ours("ours-postgres", postgres);
  try {
    const sampler = sampleMemory(row);
    const load = await row.run({ ...shape, window: Math.max(shape.window, batch * 10), batch, measureMs: undefined, events });
    return { id, what: `${events} events in batches of ${batch}`, memory: sampler.end(), load };
  } finally {
    await row.stop();
  }
}

/** What an outage did. `grown`: highest memory while the store was down over the last before it, MiB. `perSecondAfter`: acks in the last seconds. */
export type Outage = {
  readonly seconds: number;
  readonly before: number;
  readonly peak: number;
  readonly grown: number;
  readonly perSecondAfter: number;
};

/** Stops Postgres for `seconds` while the load keeps pushing, starts it again, and counts what is acknowledged once it is back. */
export async function outage(postgres: BenchPostgres, seconds: number): Promise<Outage> {
  const row = await ours("ours-postgres", postgres);
  try {
    const beforeMs = 10_000;
    const afterMs = 15_000;
    const running = row.run({ ...shape, measureMs: beforeMs + seconds * 1000 + afterMs, events: undefined });
    await sleep(shape.warmupMs + beforeMs);
    const before = memoryOf(row);
    await postgres.interrupt();
    let peak = before;
    for (let passed = 0; passed < seconds * 1000; passed += sampleMs) {
      await sleep(sampleMs);
      peak = Math.max(peak, memoryOf(row));
    }
    await postgres.resume();
    const load = await running;
    return { seconds, before, peak, grown: peak - before, perSecondAfter: median(load?.series.slice(-5) ?? []) };
  } finally {
    await row.stop();
  }
}

function sampleMemory(row: Row): { readonly end: () => Memory } {
  const samples: number[] = [];
  const timer = setInterval(() => samples.push(memoryOf(row)), sampleMs);
  return {
    end: () => {
      clearInterval(timer);
      const fifth = Math.max(1, Math.floor(samples.length / 5));
      const growth = median(samples.slice(-fifth)) - median(samples.slice(fifth, 2 * fifth));
      return { samples, peak: Math.max(0, ...samples), growth };
    },
  };
}

function memoryOf(row: Row): number {
  return Math.round((row.pid === undefined ? 0 : (residentBytes(row.pid) ?? 0)) / mib);
}

/** The middle value; the upper one of two. 0 of nothing. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
