/**
 * What a spool costs the thread that reports, and how fast an outage drains from it. By the environment: EVENTS (default 1,000,000) and BYTES of
 * each (300). Prints one JSON object; everything lies in a directory of its own, removed at the end.
 *
 * `putMicros` is the time inside `put`, and its 99th percentile over turns of 100; `threadMicros` is all that the thread does for an event until it
 * is on disk, this loop included; `cpuMicros` that of all threads. `drainPerSecond`: read and decoded, forgotten, and that on disk, in pages of 500.
 */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSpool } from "../src/client/spool/open-spool.js";
import { encodeEvent } from "../src/client/wire/frames.js";

const events = Number(process.env.EVENTS ?? 1_000_000);
const bytes = Number(process.env.BYTES ?? 300);
const pageEvents = 500;
/** Puts of one turn of the event loop: a busy server's. */
const turnEvents = 100;
const root = mkdtempSync(join(tmpdir(), "spool-bench-"));
const directory = join(root, "spool.db");
const encoded = encodeEvent({ interactionId: "i".repeat(bytes - 10) });
const kinds = ["start", "progress", "progress", "complete"] as const;
const ids = Array.from({ length: 1_000 }, (_, i) => `0193a5c2-7b1e-7c3a-9d4f-${String(i).padStart(12, "0")}`);

try {
  process.stdout.write(`${JSON.stringify({ events, eventBytes: encoded.length, ...(await fill()), ...(await drain()) })}\n`);
} finally {
  rmSync(root, { recursive: true });
}

async function fill() {
  const spool = openSpool({ directory });
  const putMs: number[] = [];
  const cpuBefore = process.cpuUsage();
  const loopBefore = performance.eventLoopUtilization();
  const startedAt = performance.now();
  for (let put = 0; put < events; ) {
    const before = performance.now();
    const until = Math.min(events, put + turnEvents);
    const from = put;
    while (put < until && spool.put(ids[put % 1_000] ?? "", kinds[put & 3] ?? "start", encoded) !== undefined) put++;
    if (put > from) putMs.push((performance.now() - before) / (put - from));
    // A spool that takes no more has as many in memory as it may: then the disk sets the pace.
    if (put < until) await spool.flushed();
    else await new Promise((resolve) => setImmediate(resolve));
  }
  await spool.flushed();
  const wallMs = performance.now() - startedAt;
  const loop = performance.eventLoopUtilization(loopBefore);
  const { user, system } = process.cpuUsage(cpuBefore);
  const figures = spool.figures();
  if (figures.events !== events) throw new Error(`the spool holds ${figures.events} events`);
  await spool.close();
  putMs.sort((a, b) => a - b);
  return {
    putMicros: round((putMs.reduce((sum, ms) => sum + ms, 0) / putMs.length) * 1_000),
    putMicrosP99: round((putMs[Math.floor(putMs.length * 0.99)] ?? 0) * 1_000),
    threadMicros: round((loop.active / events) * 1_000),
    cpuMicros: round((user + system) / events),
    fillPerSecond: Math.round((events / wallMs) * 1_000),
    fileBytesPerEvent: round(statSync(join(directory, "data.mdb")).size / events),
  };
}

async function drain() {
  const openedAt = performance.now();
  const spool = openSpool({ directory });
  const openMs = performance.now() - openedAt;
  const startedAt = performance.now();
  let drained = 0;
  let rssMax = 0;
  for (let place = 0; ; ) {
    const page = spool.readAfter(place, pageEvents);
    if (page.length === 0) break;
    place = page.at(-1)?.place ?? place;
    drained += page.length;
    spool.forget(page.map((event) => event.place));
    rssMax = Math.max(rssMax, process.memoryUsage().heapUsed);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await spool.flushed();
  const wallMs = performance.now() - startedAt;
  if (drained !== events || spool.figures().events !== 0) throw new Error(`${drained} events were drained`);
  await spool.close();
  return { openMs: round(openMs), drainPerSecond: Math.round((events / wallMs) * 1_000), heapMaxMb: Math.round(rssMax / 2 ** 20) };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
