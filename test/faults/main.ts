// The fault suite: `make faults`. Real processes, a real Postgres, a seed for everything that can be decided. See docs/faults.md.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { seededRng } from "../../src/platform/rng.js";
import { postgresSkipReason } from "../support/postgres.js";
import { addAudits, emptyAudit } from "./audit.js";
import { missingOf, readSteps, wantedSteps } from "./coverage.js";
import { drills } from "./drills.js";
import { type Disturbance, type Drill, oneOf } from "./fault.js";
import { linkFaults } from "./link-faults.js";
import type { Gap } from "./load.js";
import { compareBaselines, MixedRun } from "./mixed-run.js";
import { processFaults } from "./process-faults.js";
import { Report, slopeOf, spreadOf, type Totals } from "./report.js";
import { openSite, sleep } from "./site.js";
import { storeFaults } from "./store-faults.js";

const disturbances: readonly Disturbance[] = [...processFaults, ...storeFaults, ...linkFaults];

type Settings = {
  readonly seed: number;
  /** Length of the mixed run; undefined runs every fault once instead. */
  readonly minutes: number | undefined;
  readonly only: ReadonlySet<string> | undefined;
  readonly kills: number;
  readonly sessions: number;
  readonly perSecond: number;
  /** Faults of a round of the mixed run, before its rest and its audit. */
  readonly strikes: number;
  readonly scale: number;
  readonly seats: number;
  readonly streams: number;
  readonly out: string | undefined;
};

function readSettings(env: NodeJS.ProcessEnv): Settings {
  const number = (name: string, fallback: number): number => (env[name] === undefined || env[name] === "" ? fallback : Number(env[name]));
  const minutes = number("MINUTES", 0);
  const only = env.ONLY === undefined || env.ONLY === "" ? undefined : new Set(env.ONLY.split(","));
  const known = new Set([...disturbances, ...drills].map(({ id }) => id));
  const unknown = [...(only ?? [])].filter((id) => !known.has(id));
  if (unknown.length > 0) throw new Error(`ONLY names ${unknown.join(", ")}; there are ${[...known].join(", ")}`);
  return {
    seed: number("SEED", Math.floor(Math.random() * 2 ** 31)),
    minutes: minutes > 0 ? minutes : undefined,
    only,
    kills: number("KILLS", 200),
    sessions: number("SESSIONS", 20),
    perSecond: number("RATE", 2_000),
    strikes: number("STRIKES", 1),
    scale: number("SCALE", 1),
    seats: number("SEATS", 2),
    streams: number("STREAMS", 200),
    out: env.OUT === "" ? undefined : env.OUT,
  };
}

const print = (line: string): void => void process.stdout.write(`${line}\n`);

async function main(settings: Settings): Promise<number> {
  const missingPostgres = postgresSkipReason();
  if (missingPostgres !== undefined) {
    print(`the fault suite needs a Postgres that it can hurt: ${missingPostgres}`);
    return 1;
  }
  const { seed, minutes, only } = settings;
  print(
    `SEED=${seed}${minutes === undefined ? "" : ` MINUTES=${minutes}`}${only === undefined ? "" : ` ONLY=${[...only].join(",")}`} · Node ${process.version}`,
  );
  const startedMs = performance.now();
  const report = new Report(print);
  const verdicts = new Map<string, number>();
  const chosen = disturbances.filter(({ id }) => only?.has(id) ?? true);
  const chosenDrills = drills.filter(({ id }) => only?.has(id) ?? minutes === undefined);
  const stepsFile = join(mkdtempSync(join(tmpdir(), "mcpc-steps-")), "steps");
  writeFileSync(stepsFile, "");
  process.env.MCPC_FAULTS_STEPS = stepsFile; // every coordinator of the suite inherits it
  // A small heap: V8 leaves garbage alone until the limit is near, and what is only garbage must not count as memory that a peer has taken.
  const site = await openSite({ seats: settings.seats, nodeOptions: "--max-old-space-size=128" });
  let totals: MixedTotals = { before: undefined, after: undefined, heapSlopeMibPerHour: undefined, killGap: killGapOf([]) };
  try {
    if (chosen.length > 0) {
      const run = new MixedRun({ site, report, ...settings, say: print, name: `load-${seed.toString(36)}` });
      totals = await runMixed(run, report, settings, chosen);
      await run.close();
      for (const [name, count] of run.load.ledger.verdicts) verdicts.set(name, (verdicts.get(name) ?? 0) + count);
    }
    for (const drill of chosenDrills) await runDrill(drill, site, report, settings, verdicts);
  } finally {
    await site[Symbol.asyncDispose]();
  }
  const isWhole = only === undefined && minutes === undefined;
  const steps = readSteps(stepsFile);
  rmSync(dirname(stepsFile), { recursive: true });
  const missingSteps = missingOf(steps, [], [], wantedSteps());
  print(`session table: ${wantedSteps().length - missingSteps.length} of ${wantedSteps().length} cells and steps taken`);
  const missing = isWhole ? [...missingOf(verdicts, report.rows, [...disturbances, ...drills]), ...missingSteps] : [];
  const violations = report.rows.flatMap((row) => row.violations.map((what) => `${row.id} seed ${row.seed}: ${what}`));
  if (settings.out !== undefined) mkdirSync(dirname(settings.out), { recursive: true });
  report.close(
    {
      ...{ seed, minutes: (performance.now() - startedMs) / 60_000, acked: report.acked, injected: report.injected },
      ...{
        counts: report.audit.counts,
        checked: report.audit.checked,
        verdicts: Object.fromEntries([...verdicts].sort()),
        steps: Object.fromEntries([...steps].sort()),
        missing,
        violations,
      },
      ...totals,
    },
    settings.out,
  );
  return violations.length === 0 && missing.length === 0 ? 0 : 1;
}

type MixedTotals = Pick<Totals, "before" | "after" | "heapSlopeMibPerHour" | "killGap">;

const killGapOf = (gaps: readonly Gap[]): Totals["killGap"] => ({
  lossToAck: spreadOf(gaps.map((gap) => gap.lossToAckMs)),
  reconnectToAck: spreadOf(gaps.map((gap) => gap.reconnectToAckMs)),
});

/** Rounds at random for the given minutes, or each fault once and F1 as often as asked for. */
async function runMixed(run: MixedRun, report: Report, settings: Settings, chosen: readonly Disturbance[]): Promise<MixedTotals> {
  await run.warmUp();
  const before = await run.baseline();
  const seeds = seededRng(settings.seed ^ 0x5eed);
  const next = (): number => Math.floor(seeds() * 2 ** 31);
  if (settings.minutes === undefined) {
    for (const fault of chosen)
      for (let turns = fault.id === "F1" ? settings.kills : 1; turns > 0; turns -= 1) await run.round([{ fault, seed: next() }]);
  } else {
    const untilMs = performance.now() + settings.minutes * 60_000;
    const choose = seededRng(settings.seed ^ 0xc0de);
    while (performance.now() < untilMs) {
      await run.round(Array.from({ length: settings.strikes }, () => ({ fault: oneOf(choose, chosen), seed: next() })));
    }
  }
  await sleep(Math.min(60_000, 2_000 + (settings.minutes ?? 1) * 2_000));
  const after = await run.baseline();
  const compared = addAudits(emptyAudit, compareBaselines(before, after));
  report.add(
    {
      id: "rest",
      title: "what is left behind",
      seed: settings.seed,
      what: "handles, descriptors and connections after a rest",
      seconds: 0,
      injected: 0,
      acked: 0,
      figures: {},
    },
    compared,
  );
  return { before, after, heapSlopeMibPerHour: slopeOf(run.heapSamples), killGap: killGapOf(run.killGaps) };
}

async function runDrill(
  drill: Drill,
  site: Awaited<ReturnType<typeof openSite>>,
  report: Report,
  settings: Settings,
  verdicts: Map<string, number>,
): Promise<void> {
  const startedMs = performance.now();
  const { seed, scale, streams } = settings;
  const result = await drill.run({ site, seed, rng: seededRng(seed), scale, streams, say: print });
  for (const [name, count] of result.verdicts ?? []) verdicts.set(name, (verdicts.get(name) ?? 0) + count);
  const { id, title } = drill;
  const skipped = result.skipped === undefined ? {} : { skipped: result.skipped };
  report.add(
    {
      id,
      title,
      seed: settings.seed,
      what: result.what,
      seconds: (performance.now() - startedMs) / 1_000,
      injected: result.injected,
      acked: result.acked ?? 0,
      figures: result.figures ?? {},
      ...skipped,
    },
    result.audit ?? emptyAudit,
  );
}

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
process.exitCode = await main(readSettings(process.env));
