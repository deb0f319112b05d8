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

/** A fault, and the seed that decides everything about it that can be decided. */
export type Strike = { readonly fault: Disturbance; readonly seed: number };

const mib = 1024 * 1024;
/** After the fault is gone, everything must be resolved within this. Above the longest backoff of a client (30 s) and the watchdog (10 s). */
const settleMaxMs = 75_000;
/** Rows after which a round is followed by forgetting: about 2 GiB. */
const rowsMax = 2_000_000;

/** A load, and a stream held by hand beside it, that run through many rounds: in each one fault or several, a rest and an audit. */
export class MixedRun {
  readonly load: Load;
  /** Gaps of the rounds of F1. */
  readonly killGaps: Gap[] = [];
  /** Hours since the start, and MiB of heap over all coordinators; not taken after a kill, which makes the heap young again. */
  readonly heapSamples: (readonly [number, number])[] = [];
  readonly #options: MixedOptions;
  readonly #witness: Witness;
  readonly #startedMs = performance.now();
  #hasCommitTimes: boolean | undefined;
  #rowsHeld = 0;

  /** Opens the sessions; the first round may follow at once. */
  constructor(options: MixedOptions) {
    const { site, sessions, perSecond, seed, name } = options;
    this.#options = options;
    this.load = new Load({ target: site.target, sessions, perSecond, seed, name, admin: site.admin });
    this.#witness = new Witness(site.target, name, seed);
  }

  /** Traffic without a fault, audited like a round. */
  async warmUp(): Promise<void> {
    this.#start();
    await sleep(3_000);
    const found = await this.#settleAndAudit();
    const row = {
      id: "warm",
      title: "traffic without a fault",
      seed: this.#options.seed,
      what: "no fault",
      seconds: 3,
      injected: 0,
      figures: {},
    };
    this.#options.report.add({ ...row, acked: this.load.ledger.ackedTotal }, found);
  }

  /** One round: faults one after the other under one load, then a rest and an audit of all of it. */
  async round(strikes: readonly Strike[]): Promise<void> {
    const { load } = this;
    load.gaps.splice(0);
    this.#start();
    let acked = 0;
    for (const [at, strike] of strikes.entries()) {
      const row = await this.#strike(strike);
      const isLast = at === strikes.length - 1;
      const ackedBefore = load.ledger.ackedTotal;
      const found = isLast ? await this.#settleAndAudit() : emptyAudit;
      const gaps = load.gaps.map((gap) => gap.lossToAckMs);
      const ends = isLast ? { reconnects: gaps.length, gapMaxMs: Math.round(Math.max(0, ...gaps)) } : {};
      const ackedByRow = row.acked + load.ledger.ackedTotal - ackedBefore;
      acked += ackedByRow;
      this.#options.report.add({ ...row, acked: ackedByRow, figures: { ...row.figures, ...ends } }, addAudits(found, row.audit));
    }
    const ids = strikes.map(({ fault }) => fault.id);
    // A gap is that of the one fault there was.
    if (ids.join() === "F1") this.killGaps.push(...load.gaps);
    await this.#forget(acked);
    if (!ids.includes("F1")) this.heapSamples.push([(performance.now() - this.#startedMs) / 3_600_000, (await this.baseline()).heapMib]);
  }

  /** One fault, until new traffic flows again without an operator (I8). */
  async #strike({ fault, seed }: Strike) {
    const { site, scale, say } = this.#options;
    const { load } = this;
    const startMs = performance.now();
    const ackedBefore = load.ledger.ackedTotal;
    await sleep(300);
    const { what, injected, figures, audit = emptyAudit } = await fault.strike({ site, load, rng: seededRng(seed), scale, say });
    await untilAcked(load, load.ledger.ackedTotal + 50, settleMaxMs);
    const acked = load.ledger.ackedTotal - ackedBefore;
    const seconds = (performance.now() - startMs) / 1_000;
    return { id: fault.id, title: fault.title, seed, what, seconds, injected, acked, figures: { ...figures }, audit };
  }

  /** What the processes hold now. */
  baseline(): Promise<Baseline> {
    return readBaseline(this.#options.site);
  }

  /** The last audit, over everything, and the end of the load. */
  async close(): Promise<void> {
    const { site, report, seed } = this.#options;
    const total = await this.load.auditTotal(site.admin);
    const row = { id: "all", title: "every row", seed, what: "the number of all rows", seconds: 0, injected: 0, acked: 0, figures: {} };
    report.add(row, total);
    await Promise.all([this.load[Symbol.asyncDispose](), this.#witness[Symbol.asyncDispose]()]);
  }

  #start(): void {
    this.load.start();
    this.#witness.start();
  }

  async #settleAndAudit(): Promise<Audit> {
    const { admin } = this.#options.site;
    this.#hasCommitTimes ??= await keepsCommitTimes(admin);
    const isSettled = await this.load.settle(settleMaxMs);
    const isWitnessSettled = await this.#witness.settle(settleMaxMs);
    const found = await this.load.auditRound(admin, this.#hasCommitTimes, isSettled);
    const seen = await this.#witness.auditRound(admin, this.#hasCommitTimes);
    return addAudits(addAudits(found, seen), claim("I8", isWitnessSettled ? undefined : "the stream held by hand did not come back"));
  }

  /** Drops what was audited once there is much of it, so that long runs keep to a bounded disk. */
  async #forget(acked: number): Promise<void> {
    this.#rowsHeld += acked;
    if (this.#rowsHeld <= rowsMax || this.load.unresolvedCount > 0) return;
    await this.load.forgetRows(this.#options.site.admin);
    this.#rowsHeld = 0;
  }
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
