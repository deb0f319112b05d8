import { loadavg } from "node:os";
import { startCoordinatorProcess } from "../support/coordinator.js";
import { startPostgres } from "../support/postgres.js";
import { startFleet } from "./fleet.js";
import { conclude, readProcess, say, setting, sleep, until } from "./results.js";

/** Many streams that only show signs of life: what each costs in memory and all of them in processor time. */
export async function runIdle(): Promise<void> {
  const wanted = setting("STREAMS", 10_000);
  const processes = setting("PROCESSES", 2);
  const settleMs = setting("SETTLE_MS", 30_000);
  const measureMs = setting("MEASURE_MS", 60_000);
  const postgres = await startPostgres();
  const coordinator = await startCoordinatorProcess({ databaseUrl: postgres.url });
  try {
    await sleep(5_000);
    const before = readProcess(coordinator.pid);
    const fleet = startFleet(coordinator.target, wanted, processes, 30_000);
    try {
      const isUp = () => fleet.standing().up === fleet.streams && fleet.standing().acked === fleet.streams;
      await until("all streams are up", 240_000, isUp, fleet.standing);
      say(`${fleet.streams} streams on ${fleet.connections} connections; settling for ${settleMs} ms`);
      await sleep(settleMs);
      fleet.mark();
      const from = { ...readProcess(coordinator.pid), atMs: performance.now() };
      await sleep(measureMs);
      const to = { ...readProcess(coordinator.pid), atMs: performance.now() };
      const { endings, up } = fleet.standing();
      const kibEach = (to.residentBytes - before.residentBytes) / 1024 / fleet.streams;
      const cpuPercent = ((to.cpuSeconds - from.cpuSeconds) * 100_000) / (to.atMs - from.atMs);
      const settings = {
        streams: fleet.streams,
        connections: fleet.connections,
        processes,
        settleMs,
        measureMs,
        loadAverage: loadavg()[0],
        endings,
      };
      const lost = fleet.streams - up + Object.values(endings).reduce((sum, count) => sum + count, 0);
      conclude("idle", settings, [
        { name: "resident memory at start-up", value: before.residentBytes / 1024 / 1024, unit: "MiB" },
        { name: "resident memory with all streams", value: to.residentBytes / 1024 / 1024, unit: "MiB" },
        { name: "beyond start-up, each stream", value: kibEach, unit: "KiB", target: "<= 60 KiB", isMet: kibEach <= 60 },
        { name: "processor time", value: cpuPercent, unit: "% of a core", target: "< 20 %", isMet: cpuPercent < 20 },
        { name: "streams that ended or are down", value: lost, unit: "", target: "0", isMet: lost === 0 },
      ]);
    } finally {
      fleet.stop();
    }
  } finally {
    await coordinator.stop();
    await postgres[Symbol.asyncDispose]();
  }
}
