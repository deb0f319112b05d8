import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createReporter } from "../src/client/index.js";
import { createLatencies } from "../src/client/latencies.js";
import { startCoordinatorProcess } from "../test/support/coordinator.js";

/**
 * What a report costs the thread that makes it: `npx tsx bench/reporter.ts [events]`, after `make build`.
 * "call" is the time inside reportStart and reportComplete. "thread" is the processor time of the thread that reports, per event, from the first report until the last one is stored, or
 * durable when there is no coordinator: spool, transport and verdicts included. "process" counts the threads of the disk and of the garbage collector too. Needs Linux, whose /proc tells a thread's time.
 */
const eventCount = Number(process.argv[2] ?? 50_000);
const burst = 100;

/** Processor time of the main thread, whose id is that of the process. Unit: µs. */
function threadUs(): number {
  const [ns] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ");
  return Number(ns) / 1_000;
}

async function run(name: string, coordinatorUrl: string, grpcTarget: string, isUp: boolean): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "mcpc-bench-"));
  const reporter = createReporter({ mcpId: "bench", coordinatorUrl, grpcTarget, localCachePath: join(dir, "spool"), closeMaxMs: 0 });
  reporter.reportStart("warm-up");
  await (isUp ? reporter.flush() : reporter.durable());
  await reportEvents(reporter, Math.min(10_000, eventCount), createLatencies(), isUp);
  const latencies = createLatencies();
  const before = process.cpuUsage();
  const threadBeforeUs = threadUs();
  const startedMs = performance.now();
  await reportEvents(reporter, eventCount, latencies, isUp);
  const wallMs = performance.now() - startedMs;
  const { user, system } = process.cpuUsage(before);
  const ofThreadUs = threadUs() - threadBeforeUs;
  const { counters } = reporter.state;
  await reporter.close();
  rmSync(dir, { recursive: true, force: true });
  const micros = (ms: number) => (ms * 1_000).toFixed(1);
  console.log(
    `${name}: ${eventCount} events, call p50 ${micros(latencies.quantile(0.5))} µs, p99 ${micros(latencies.quantile(0.99))} µs, max ${micros(latencies.max())} µs; ` +
      `thread ${(ofThreadUs / eventCount).toFixed(1)} µs per event, process ${((user + system) / eventCount).toFixed(1)} µs; ${Math.round(eventCount / (wallMs / 1_000))} events/s; stored ${counters.stored}, refused ${counters.refused + counters.full}`,
  );
}

async function reportEvents(
  reporter: ReturnType<typeof createReporter>,
  count: number,
  latencies: ReturnType<typeof createLatencies>,
  isUp: boolean,
) {
  for (let index = 0; index < count; ) {
    for (let one = 0; one < burst && index < count; one += 1, index += 1) {
      const atMs = performance.now();
      if (index % 2 === 0) reporter.reportStart(`i-${index}`, { requestType: "ocr", userId: "u-1", inputSize: 1_000 });
      else reporter.reportComplete(`i-${index - 1}`, { processingTimeMs: 12, qualityScore: 0.9, outputSize: 500 });
      latencies.record(performance.now() - atMs);
    }
    // Business of its own between the bursts: the loop turns.
    await new Promise((resolve) => setImmediate(resolve));
  }
  await (isUp ? reporter.flush(600_000) : reporter.durable());
}

const coordinator = await startCoordinatorProcess();
await run("coordinator up", coordinator.webUrl, coordinator.target, true);
await coordinator.stop();
await run("coordinator down", coordinator.webUrl, coordinator.target, false);
