import { fork } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { materialFrom } from "../src/cli/simulation-material.js";
import { barChart } from "../src/simulate/bar-chart.js";
import { plan, type RunResult, report, run } from "../src/simulate/evaluation.js";
import { type Evaluation, evaluationTables, placeBetweenMarkers, withRemade } from "../src/simulate/evaluation-page.js";
import { scenariosWith } from "../src/simulate/scenarios.js";

/**
 * Every scenario with every policy, and what docs/evaluation.md says of it. `--data <directory>`: recorded traces, ../shared/data seen from the root of the project when left out.
 * Environment: SEEDS (10), SCALE (1), WORKERS (2), ONLY (S1,S4: prints, and writes nothing, unless UPDATE=1), QUICK=1 (2 seeds, lengths × 0.2, writes nothing).
 */
const usage = `Usage: make evaluate [SEEDS=10] [SCALE=1] [WORKERS=2] [ONLY=S1,S4 [UPDATE=1]] [QUICK=1] [DATA=directory]
       npx tsx bench/evaluate.ts [--data <directory>] [--help]

Every scenario with every policy, in simulated time. Prints whether each claim is met, and writes docs/evaluation.md, its charts and bench/results/evaluation.json.

  --data, DATA   directory of recorded traces; ../shared/data seen from the root of the project. Where a file is missing, a generator stands in.
  SEEDS          runs of each policy in each cell, from seed 101 on (10)
  SCALE          multiplies lengths of runs where that costs precision only (1)
  WORKERS        processes that share the runs (2)
  ONLY           scenarios by number or name, with commas: prints, and writes nothing
  UPDATE=1       with ONLY: puts these in the place of what the page has of them, and the page says so
  QUICK=1        2 seeds and lengths × 0.2, unless told otherwise: writes nothing
  --help, -h     this text`;
const unknown = process.argv.slice(2).filter((word, at, words) => word !== "--data" && words[at - 1] !== "--data");
if (unknown.length > 0) {
  const isAsked = unknown.every((word) => word === "--help" || word === "-h");
  if (isAsked) console.log(usage);
  else console.error(`unknown: ${unknown.join(" ")}\n${usage}`);
  process.exit(isAsked ? 0 : 2);
}

const root = join(fileURLToPath(new URL(".", import.meta.url)), "..");
const isQuick = process.env.QUICK === "1";
const seedCount = Number(process.env.SEEDS || (isQuick ? 2 : 10));
const scale = Number(process.env.SCALE || (isQuick ? 0.2 : 1));
const workers = Number(process.env.WORKERS || 2);
const isUpdate = process.env.UPDATE === "1";
const only = (process.env.ONLY ?? "").split(",").filter((id) => id !== "");
const dataAt = process.argv.indexOf("--data");
const dataDir = resolve(root, (dataAt < 0 ? undefined : process.argv[dataAt + 1]) || "../shared/data");
const material = materialFrom(dataDir, scale);
const scenarios = scenariosWith(material);
const chosen = scenarios.filter((scenario) => only.length === 0 || only.includes(scenario.id) || only.includes(scenario.name));
/** Seeds that nobody has looked at while anything was chosen: parameters are chosen on seeds from 5001 on. */
const firstSeed = 101;
const seeds = Array.from({ length: seedCount }, (_, index) => firstSeed + index);
const tasks = plan(chosen, seeds);
const part = process.env.EVALUATE_PART;

if (part === undefined) await evaluate();
else work(Number(part));

/** A worker: every `workers`-th task. What code costs is measured by the first worker alone, so that two of them do not share a core. */
function work(mine: number): void {
  for (const [index, task] of tasks.entries()) if (index % workers === mine) process.send?.(run(task, chosen, material));
  process.disconnect?.();
}

async function evaluate(): Promise<void> {
  const startedMs = performance.now();
  const runs: RunResult[] = [];
  await Promise.all(Array.from({ length: workers }, (_, mine) => collect(mine, runs)));
  const minutes = (performance.now() - startedMs) / 60_000;
  const reports = chosen.map((scenario) => report(scenario, runs));
  for (const { id, claims } of reports)
    for (const claim of claims) console.log(`${id} ${claim.isMet ? "met   " : "MISSED"} ${claim.text}: ${claim.measured}`);
  console.log(`${runs.length} runs in ${minutes.toFixed(1)} minutes`);
  const isPart = only.length > 0;
  if (isQuick || (isPart && !isUpdate)) return;
  const command = `make evaluate ${isPart ? `ONLY=${only.join(",")} UPDATE=1 ` : ""}SEEDS=${seedCount} SCALE=${scale}`;
  const made = { command, seeds, scale, minutes };
  const file = join(root, "bench/results/evaluation.json");
  // What an earlier run of this program wrote.
  const kept = isPart ? withRemade(JSON.parse(readFileSync(file, "utf8")) as Evaluation, made, reports) : { ...made, reports };
  writeFileSync(file, `${JSON.stringify(kept, undefined, 1)}\n`);
  const page = join(root, "docs/evaluation.md");
  const tables = evaluationTables(kept.reports, scenarios, kept, kept.remade);
  writeFileSync(page, placeBetweenMarkers(readFileSync(page, "utf8"), tables));
  mkdirSync(join(root, "docs/evaluation"), { recursive: true });
  for (const [index, scenario] of chosen.entries()) {
    const told = reports[index];
    if (told !== undefined) writeFileSync(join(root, "docs/evaluation", `${scenario.name}.svg`), barChart(told, scenario));
  }
}

/** Starts one worker and takes its results. Errors: rejects when it ends otherwise than well. */
function collect(mine: number, runs: RunResult[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), ["--data", dataDir], {
      env: { ...process.env, EVALUATE_PART: String(mine) },
      execArgv: process.execArgv,
    });
    child.on("message", (result: RunResult) => {
      runs.push(result);
      if (runs.length % 50 === 0) console.log(`${runs.length} of ${tasks.length} runs`);
    });
    child.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`worker ${mine} ended with ${code}`))));
  });
}
