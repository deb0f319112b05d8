/**
 * `make weights`: measures the weight plane over gRPC on loopback (S13 and S14) and feeds the client's judgement of updates; prints the figures and writes
 * bench/results/weight-plane.json. Settings by environment: STREAMS (200), ROUNDS (40), DEATHS (10), STEPS (1 000 000), SEED (1). Needs a Postgres server's programs.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { startPostgres } from "../support/postgres.js";
import { runDeadStreams } from "./dead-streams.js";
import { runWeightPlane } from "./plane-run.js";
import { fuzzTables } from "./table-fuzz.js";

const numberOf = (name: string, fallback: number): number => {
  const given = process.env[name];
  return given === undefined || given === "" ? fallback : Number(given);
};
const print = (text: string): void => void process.stdout.write(`${text}\n`);

const fuzz = fuzzTables(numberOf("STEPS", 1_000_000), numberOf("SEED", 1));
print(
  `updates judged   ${fuzz.steps} (seed ${fuzz.seed}): ${fuzz.applied} applied, ${fuzz.wrong} of them wrong; ${fuzz.kept} kept, ${fuzz.outOfSync} out of sync, ${fuzz.staleEpoch} stale`,
);

const load = loadavg().map((one) => Number(one.toFixed(2)));
await using postgres = await startPostgres();
const plane = await runWeightPlane(postgres.url, numberOf("STREAMS", 200), numberOf("ROUNDS", 40));
print(
  `S14              ${plane.streams} streams: published to applied p50 ${plane.p50Ms.toFixed(1)} ms, p99 ${plane.p99Ms.toFixed(1)} ms (target p99 250 ms)`,
);
print(
  `                 ${plane.applications} applications, ${plane.wrongApplications} wrong; ${plane.rejectedTables} tables rejected, ${plane.resentDigests} sent again, ${plane.withheld} withheld`,
);
print(
  `                 ${(plane.deltaShare * 100).toFixed(0)} % deltas; all on the newest table ${plane.recoveredMs.toFixed(0)} ms after kill -9`,
);

const dead = await runDeadStreams(numberOf("DEATHS", 10));
const most = (values: readonly number[]): string => Math.max(...values).toFixed(0);
print(
  `S13              no weight at most ${most(dead.silentMs)} ms after SIGSTOP (target 6 500 ms), ${most(dead.resetMs)} ms after a reset (target 250 ms)`,
);

mkdirSync("bench/results", { recursive: true });
const machine = { cpus: cpus().length, node: process.version, loadBefore: load };
writeFileSync(
  "bench/results/weight-plane.json",
  `${JSON.stringify({ command: "make weights", machine, fuzz, plane, dead }, undefined, 2)}\n`,
);
