import { type Arrivals, hyperexponential, normalWorkOf, poisson, replayed, steady, type Work } from "../arrivals.js";
import { bursty } from "../bursts.js";
import { contenderNamed } from "../contenders.js";
import { exponential, normalWorkMean } from "../draws.js";
import { type Figures, measured, shareWithin } from "../figures.js";
import { both, judgeRatio } from "../judging.js";
import type { RunLog } from "../run-log.js";
import { type Material, type Results, type Scenario, worldCell } from "../scenario.js";
import { estimate, pairedDifference, quantile } from "../statistics.js";
import { antagonist, equalServers, plainVerdict, plainWorld, type World } from "../world.js";

const ours = "P13-ours";
const objectiveMs = 1_000;
const bursts = "bursts of CV 13, 10 times as fast";
const clumps = "arrivals of CV 3, and two grades of answers";
const reasoning = "answers of half a minute";
const speed = 10;
const lengthMs = 240_000;
/** Long answers need a long run: 1.5 requests a second for an hour. */
const thoughtsLengthMs = 3_600_000;
/** What a token costs: one generated, and one read. */
const generatedMs = 1;
const readMs = 0.05;
const traceFile = "azure_llm_2023_conv.csv";
const noiseFile = "vm_noise_b8ms_tpcb_latency_ms.csv";
/** How long a recorded measurement of a machine stands for its speed. */
const noiseStepMs = 2_000;
const noisyServers = 10;

/** Requests of the trace from a seeded place on, faster. A generator with its rate and mean work where the file is not. */
function conversations(material: Material, horizonMs: number, seed: number): Arrivals {
  const text = material.text(traceFile);
  if (text === undefined) return steady(poisson(55), (rng) => exponential(rng, 270), horizonMs);
  const rows = rowsOf(text);
  const lastMs = rows.at(-1)?.atMs ?? 0;
  const fromMs = ((seed * 0.618_033_988_75) % 1) * Math.max(0, lastMs - horizonMs);
  return replayed(
    rows.filter((row) => row.atMs >= fromMs && row.atMs < fromMs + horizonMs).map((row) => ({ ...row, atMs: row.atMs - fromMs })),
  );
}

/** TIMESTAMP,ContextTokens,GeneratedTokens, a header first; lines that are no request are left out. */
function rowsOf(text: string): readonly { readonly atMs: number; readonly workMs: number }[] {
  const rows = text
    .split("\n")
    .slice(1)
    .map((line) => {
      const [at = "", context = "", generated = ""] = line.split(",");
      return {
        wallMs: Date.parse(`${at.slice(0, 23).replace(" ", "T")}Z`),
        workMs: Number(generated) * generatedMs + Number(context) * readMs,
      };
    })
    .filter((row) => Number.isFinite(row.wallMs) && Number.isFinite(row.workMs));
  const first = rows[0]?.wallMs ?? 0;
  return rows.map((row) => ({ atMs: (row.wallMs - first) / speed, workMs: row.workMs })).sort((a, b) => a.atMs - b.atMs);
}

function worldOf(serverCount: number, arrivals: Arrivals, horizonMs: number): World {
  const servers = equalServers(serverCount, { cores: 4, capacity: 200 }, (index) => ({
    contention: antagonist(index, serverCount, horizonMs + 10_000),
  }));
  return { ...plainWorld, servers, measureFromMs: 10_000, arrivals };
}

const tokens: Work = (rng) => exponential(rng, 150);

/** Every other server answers better. All report the worth of their answers, rightly; a tenth is audited. */
function gradedWorld(horizonMs: number): World {
  const answering: World["answering"] = (server, { item }) => {
    const quality = server % 2 === 0 ? 0.8 : 0.7;
    return { ...plainVerdict, quality, trueQuality: quality, auditedQuality: item % 10 === 0 ? quality : undefined };
  };
  const gaps = hyperexponential(55, 3.03);
  return {
    ...worldOf(
      8,
      steady(gaps, (rng) => exponential(rng, 270), horizonMs),
      horizonMs,
    ),
    answering,
  };
}

/** Seven of ten requests are answered briefly, the others after a long thought: 2 s and 30 s in the mean. */
const thoughts: Work = (rng) => exponential(rng, rng() < 0.7 ? 2_000 : 30_000);
const thoughtObjectiveMs = 60_000;

/** Half of what 32 cores can do; 64 places a server, as memory for so long answers allows, and a deadline to match. */
function reasoningWorld(horizonMs: number): World {
  const world = worldOf(8, steady(poisson(1.5), thoughts, horizonMs), horizonMs);
  return { ...world, servers: world.servers.map((server) => ({ ...server, capacity: 64 })), deadlineMs: 300_000 };
}

function serviceFigures(log: RunLog): Figures {
  return { attainmentPercent: 100 * shareWithin(measured(log), objectiveMs) };
}

function gradedFigures(log: RunLog): Figures {
  const outcomes = measured(log);
  return { ...serviceFigures(log), quality: outcomes.reduce((sum, one) => sum + (one.trueQuality ?? 0), 0) / outcomes.length };
}

function reasoningFigures(log: RunLog): Figures {
  return { attainmentPercent: 100 * shareWithin(measured(log), thoughtObjectiveMs) };
}

function judgeCell(results: Results, cell: string) {
  const own = results.values(cell, ours, "attainmentPercent");
  const theirs = results.values(cell, "P9-prequal", "attainmentPercent");
  const difference = pairedDifference(own, theirs);
  return both(judgeRatio(results, { cell, figure: "p99Ms", contender: ours, other: "P9-prequal" }, { atMost: 1 }), {
    measured: `attainment ${estimate(own).mean.toFixed(2)} %, ${difference.mean.toFixed(2)} ± ${difference.halfWidth.toFixed(2)} points more`,
    isMet: difference.mean >= 0,
  });
}

function judgeQuality(results: Results, cell: string) {
  const [own, theirs] = [results.values(cell, ours, "quality"), results.values(cell, "P9-prequal", "quality")];
  const { mean, halfWidth } = pairedDifference(own, theirs);
  return { measured: `quality ${estimate(own).mean.toFixed(3)}, ${mean.toFixed(3)} ± ${halfWidth.toFixed(3)} more`, isMet: mean >= 0 };
}

/** Measured latencies of machines, machine by machine in the order of time; undefined where the file is not present. */
function noiseOf(material: Pick<Material, "text">): readonly number[] | undefined {
  const rows = material
    .text(noiseFile)
    ?.split("\n")
    .slice(1)
    .map((line) => {
      const [value = "", , startedAt = "", machine = ""] = line.trim().split(",");
      return { latencyMs: Number(value), order: `${machine} ${startedAt}` };
    })
    .filter(({ latencyMs }) => latencyMs > 0);
  return rows?.sort((a, b) => (a.order < b.order ? -1 : 1)).map(({ latencyMs }) => latencyMs);
}

/**
 * Ten servers whose machines are as slow as the recorded ones were, each from a place of its own, at 70 % of what they can do in the mean. The stand-in steps between
 * full speed and 1/2.3 of it, as the file's first and ninety-ninth percentile do, ten steps in a row.
 */
function noisyWorld(material: Material, horizonMs: number): World {
  const recorded = noiseOf(material) ?? Array.from({ length: 400 }, (_, index) => (Math.floor(index / 10) % 4 === 0 ? 8.5 : 19.5));
  const fastestMs = quantile(
    recorded.toSorted((a, b) => a - b),
    0.01,
  );
  const steps = Math.ceil(horizonMs / noiseStepMs) + 5;
  let left = 0;
  const servers = equalServers(noisyServers, { cores: 4, capacity: 200 }, (server) => {
    const first = Math.floor(((server * 0.618_033_988_75) % 1) * recorded.length);
    const contention = Array.from({ length: steps }, (_, step) => {
      const latencyMs = recorded[(first + step) % recorded.length] ?? fastestMs;
      return { fromMs: step * noiseStepMs, coresLeft: Math.min(1, fastestMs / latencyMs) };
    });
    left += contention.reduce((sum, { coresLeft }) => sum + coresLeft, 0) / steps;
    return { contention };
  });
  const perSecond = (0.7 * 4 * left * 1_000) / (80 * normalWorkMean);
  return { ...plainWorld, servers, measureFromMs: 10_000, arrivals: steady(poisson(perSecond), normalWorkOf(80), horizonMs) };
}

/** What is replayed where it is there, and what stands in for it where not; the names of the cells say which. */
export function traceReplayWith(material: Pick<Material, "text">): Scenario {
  const conversation = `${material.text(traceFile) === undefined ? "stand-in for the conversation trace" : "conversation trace"}, 10 times as fast`;
  const noise = material.text(noiseFile) === undefined ? "stand-in for the noise of machines" : "recorded noise of machines";
  return {
    id: "S16",
    name: "trace-replay",
    question: "Recorded and very bursty traffic: how long do requests take, and how many are answered within a second?",
    setting:
      "Azure's conversation trace of 2023 (5.5 requests a second, CV 1.09), a seeded window of it ten times as fast, a millisecond for each generated token and 0.05 for each that is read, over 8 servers of four cores " +
      "with the neighbours of S2; where the file is not present, Poisson arrivals of the same rate. Then bursts of CV 13 with three of four seconds idle, 26 requests a second in the mean, exponential work of 150 ms, over 8 servers. Then " +
      "ten servers on machines as slow as Azure recorded burstable ones (B8ms, 2024; 8.5 to 20.5 ms for the same work, read as the part of the cores that is left, a measurement every 2 s), Poisson arrivals of " +
      "Normal(80 ms) work at 70 % of what is left in the mean; where the file is not present, steps between the same two speeds. Then gaps of CV 3.03, as Mooncake's trace of conversations has, 55 requests a second of exponential work of 270 ms, over the 8 servers, where every other one " +
      "answers worth 0.8 in place of 0.7; all report it, a tenth is audited. Last 1.5 requests a second for an hour, seven of ten with exponential work of 2 s and the others of 30 s, as reasoning models take, over the same servers without " +
      "grades; within 60 s is asked of them. The names of the cells say what was replayed.",
    contenders: [
      ours,
      "P2-round-robin",
      "P4-a58-weights",
      "P5-least-requests",
      "P7-peak-ewma",
      "P9-prequal",
      "P9t-prequal-tuned",
      "P0-oracle",
    ],
    cells: [
      worldCell(
        conversation,
        contenderNamed,
        (given, seed) => {
          const horizonMs = lengthMs * given.scale;
          return worldOf(8, conversations(given, horizonMs, seed), horizonMs);
        },
        serviceFigures,
      ),
      worldCell(
        bursts,
        contenderNamed,
        (given) => {
          const horizonMs = lengthMs * given.scale;
          return worldOf(8, steady(bursty(26), tokens, horizonMs), horizonMs);
        },
        serviceFigures,
      ),
      worldCell(noise, contenderNamed, (given) => noisyWorld(given, (lengthMs / 2) * given.scale), serviceFigures),
      worldCell(clumps, contenderNamed, (given) => gradedWorld(lengthMs * given.scale), gradedFigures),
      worldCell(reasoning, contenderNamed, (given) => reasoningWorld(thoughtsLengthMs * given.scale), reasoningFigures),
    ],
    columns: [
      { figure: "p50Ms", heading: "p50 ms", digits: 0 },
      { figure: "p99Ms", heading: "p99 ms", digits: 0 },
      { figure: "p999Ms", heading: "p99.9 ms", digits: 0 },
      { figure: "attainmentPercent", heading: "within 1 s (60 s), %", digits: 2 },
      { figure: "quality", heading: "quality", digits: 3 },
    ],
    chartFigure: "p99Ms",
    claims: [
      ...[conversation, bursts, noise, reasoning].map((cell) => ({
        text: `${cell}: p99 and attainment no worse than Prequal`,
        judge: (results: Results) => judgeCell(results, cell),
      })),
      {
        text: `${clumps}: p99, attainment and quality no worse than Prequal`,
        judge: (results: Results) => both(judgeCell(results, clumps), judgeQuality(results, clumps)),
      },
    ],
  };
}
