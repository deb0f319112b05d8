import { mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { conclude, type Figure, say, setting } from "../results.js";
import { runDrain } from "./drain.js";
import { runFailover } from "./failover.js";
import { runKills } from "./kill-stage.js";
import { openSite, type ReportingSite } from "./site.js";
import { runTwins } from "./twins.js";

/** Where the stages of this drill work, and how large they are. */
export type ReportingDrill = {
  readonly site: ReportingSite;
  /** For spools and ledgers. */
  readonly dir: string;
  readonly seed: number;
  readonly events: number;
  readonly reporters: number;
};

/** Figures of a stage, and what else is worth keeping of it. */
export type StageResult = { readonly figures: readonly Figure[]; readonly details: Readonly<Record<string, unknown>> };

const stages: Readonly<Record<string, (drill: ReportingDrill) => Promise<StageResult>>> = {
  failover: runFailover,
  kills: runKills,
  twins: runTwins,
  drain: runDrain,
};

/** Reporters of the SDK in processes of their own, over all transports, while everything they need is killed. STAGES names some of the stages. */
export async function runReporting(): Promise<void> {
  const names = (process.env.STAGES || Object.keys(stages).join()).split(",");
  const dir = mkdtempSync(join(tmpdir(), "mcpc-reporting-"));
  const seed = setting("SEED", Math.floor(Math.random() * 2 ** 31));
  const settings = { seed, events: setting("EVENTS", 1_000_000), reporters: setting("REPORTERS", 4), twins: setting("TWINS", 100_000) };
  say(`SEED=${seed} EVENTS=${settings.events} REPORTERS=${settings.reporters}, stages: ${names.join(", ")}`);
  const site = await openSite();
  try {
    const figures: Figure[] = [];
    const details: Record<string, unknown> = {};
    for (const name of names) {
      const stage = stages[name];
      if (stage === undefined) throw new Error(`there is no stage ${name}; there are ${Object.keys(stages).join(", ")}`);
      say(`stage ${name}`);
      const result = await stage({ site, dir, ...settings });
      figures.push(...result.figures);
      details[name] = result.details;
    }
    conclude("reporting", { ...settings, stages: names, loadAverage: loadavg()[0], details }, figures, "bench/results/reporting.json");
  } finally {
    await site[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  }
}
