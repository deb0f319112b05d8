import { seededRng } from "../../src/platform/rng.js";
import { type Audit, addAudits, claim, emptyAudit } from "./audit.js";
import type { Disturbance } from "./fault.js";
import { type Gap, Load } from "./load.js";
import { keepsCommitTimes } from "./read-store.js";
import type { Baseline, Report } from "./report.js";
import { type Site, sleep } from "./site.js";
import { Witness } from "./witness.js";

export type MixedOptions = {
  readonly site: Site;
  readonly report: Report;
  readonly seed: number;
  readonly sessions: number;
  readonly perSecond: number;
  readonly scale: number;
  readonly say: (line: string) => void;
  /** Name of the load: another for each run on one database. */
  readonly name: string;
};

/** A load that runs through many rounds, each with one fault, a rest and an audit. */
export type MixedRun = {
  readonly load: Load;
  /** Traffic without a fault, audited like a round. */
  readonly warmUp: () => Promise<void>;
  /** One round. `seed` decides everything about the fault that can be decided. */
  readonly round: (fault: Disturbance, seed: number) => Promise<void>;
  /** Gaps of the rounds of F1. */
  readonly killGaps: readonly Gap[];
  /** Hours since the start, and MiB of heap of all coordinators that were not restarted in between. */
  readonly heapSamples: readonly (readonly [number, number])[];
  readonly baseline: () => Promise<Baseline>;
  /** The last audit, over everything, and the end of the load. */
  readonly close: () => Promise<void>;
};

const mib = 1024 * 1024;
/** After the fault is gone, everything must be resolved within this. Above the longest backoff of a client (30 s) and the watchdog (10 s). */
const settleMaxMs = 75_000;
/** Rows after which a round is followed by forgetting: about 2 GiB. */
const rowsMax = 2_000_000;

/** Opens the sessions; the first round may follow at once. */
export async function startMixedRun(options: MixedOptions): Promise<MixedRun> {
  const { site, report } = options;
  const load = new Load({
    target: site.target,
    sessions: options.sessions,
    perSecond: options.perSecond,
    seed: options.seed,
    name: options.name,
    admin: site.admin,
  });
  const witness = new Witness(site.target, options.name, options.seed);
  const hasCommitTimes = await keepsCommitTimes(site.admin);
  const killGaps: Gap[] = [];
  const heapSamples: (readonly [number, number])[] = [];
  const startedMs = performance.now();
  let rowsHeld = 0;
  const settleAndAudit = async (): Promise<Audit> => {
    const isSettled = await load.settle(settleMaxMs);
    const isWitnessSettled = await witness.settle(settleMaxMs);
    const found = addAudits(
      await load.auditRound(site.admin, hasCommitTimes, isSettled),
      await witness.auditRound(site.admin, hasCommitTimes),
    );
    return addAudits(found, claim("I8", isWitnessSettled ? undefined : "the stream held by hand did not come back"));
  };
  const warmUp = async (): Promise<void> => {
    load.start();
    witness.start();
    await sleep(3_000);
    const found = await settleAndAudit();
    const acked = load.ledger.ackedTotal;
    report.add(
      { id: "warm", title: "traffic without a fault", seed: options.seed, what: "no fault", seconds: 3, injected: 0, acked, figures: {} },
      found,
    );
  };
  const round = async (fault: Disturbance, seed: number): Promise<void> => {
    const roundMs = performance.now();
    const ackedBefore = load.ledger.ackedTotal;
    load.gaps.splice(0);
    load.start();
    witness.start();
    await sleep(300);
    const injected = await fault.strike({ site, load, rng: seededRng(seed), scale: options.scale, say: options.say });
    // New traffic must flow again before the round ends: I8 without an operator.
    await untilAcked(load, load.ledger.ackedTotal + 50, settleMaxMs);
    const found = await settleAndAudit();
    const gaps = load.gaps.map((gap) => gap.lossToAckMs);
    if (fault.id === "F1") killGaps.push(...load.gaps);
    const acked = load.ledger.ackedTotal - ackedBefore;
    const seconds = (performance.now() - roundMs) / 1_000;
    const { id, title } = fault;
    const figures = { ...injected.figures, reconnects: gaps.length, gapMaxMs: Math.round(Math.max(0, ...gaps)) };
    report.add(
      { id, title, seed, what: injected.what, seconds, injected: injected.injected, acked, figures },
      addAudits(found, injected.audit ?? emptyAudit),
    );
    rowsHeld += acked;
    if (rowsHeld > rowsMax && load.unresolvedCount === 0) {
      await load.forgetRows(site.admin);
      rowsHeld = 0;
    }
    if (fault.id !== "F1") heapSamples.push([(performance.now() - startedMs) / 3_600_000, (await readBaseline(site)).heapMib]);
  };
  return {
    load,
    warmUp,
    round,
    killGaps,
    heapSamples,
    baseline: () => readBaseline(site),
    close: async () => {
      const total = await load.auditTotal(site.admin);
      if (total.violations.length > 0)
        report.add(
          { id: "all", title: "every row", seed: options.seed, what: "rows in all", seconds: 0, injected: 0, acked: 0, figures: {} },
          total,
        );
      await Promise.all([load[Symbol.asyncDispose](), witness[Symbol.asyncDispose]()]);
    },
  };
}

async function untilAcked(load: Load, count: number, maxMs: number): Promise<void> {
  const untilMs = performance.now() + maxMs;
  while (load.ledger.ackedTotal < count && performance.now() < untilMs) await sleep(10);
}

async function readBaseline(site: Site): Promise<Baseline> {
  const figures = await Promise.all(site.seats.map((seat) => seat.figures()));
  const sum = (of: (one: (typeof figures)[number]) => number): number => figures.reduce((total, one) => total + of(one), 0);
  const [row] = await site.admin<
    { count: number }[]
  >`SELECT count(*)::int AS count FROM pg_stat_activity WHERE application_name LIKE 'mcp-coordinator%'`;
  return {
    heapMib: Math.round((sum((one) => one.heapUsed) / mib) * 10) / 10,
    rssMib: Math.round(sum((one) => one.rss) / mib),
    fds: sum((one) => one.fds),
    handles: sum((one) => Object.values(one.resources).reduce((total, count) => total + count, 0)),
    connections: row?.count ?? 0,
  };
}

/** I7: after a rest nothing is left behind of what the faults took. */
export function compareBaselines(before: Baseline, after: Baseline): ReturnType<typeof claim> {
  // Five per cent, and a few more for what a pool opens on demand.
  const grown = (["fds", "handles", "connections"] as const).filter((name) => after[name] > before[name] * 1.05 + 6);
  return claim(
    "I7",
    grown.length === 0 ? undefined : grown.map((name) => `${name} went from ${before[name]} to ${after[name]}`).join("; "),
    3,
  );
}
