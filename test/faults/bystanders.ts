import { type Audit, addAudits, claim } from "./audit.js";
import type { DrillContext } from "./fault.js";
import { Load } from "./load.js";
import { orderly } from "./plan.js";
import { keepsCommitTimes } from "./read-store.js";
import { percentile } from "./report.js";
import { residentBytes, type Site, sleep } from "./site.js";

/** What healthy sessions felt while something was done to the coordinator beside them. */
export type Beside = {
  readonly figures: Readonly<Record<string, number>>;
  readonly audit: Audit;
  readonly acked: number;
};

const mib = 1024 * 1024;
const quietMs = 3_000;
/** Above what keepalive of the server takes to end a connection that nobody answers on: 80 s. After a rapid reset Node leaves such connections open. */
const returnMaxMs = 95_000;

/**
 * Measures ack latencies of a small, orderly load: alone, then during `control`, which costs the machine what the abuse does and touches no coordinator,
 * then during `abuse`; audits what it was told; and reads the memory of the coordinators
 * before, during and after. It is a violation when the healthy sessions get nothing, or when descriptors are left behind.
 */
export async function measureBeside(
  context: Pick<DrillContext, "site" | "seed">,
  name: string,
  abuse: () => Promise<void>,
  control: () => Promise<void>,
): Promise<Beside> {
  const { site } = context;
  await using load = new Load({
    target: site.target,
    sessions: 6,
    perSecond: 500,
    seed: context.seed,
    name: `beside-${name}-${context.seed.toString(36)}`,
    shares: orderly,
    admin: site.admin,
  });
  load.start();
  await sleep(quietMs);
  const quiet = load.takeLatencies();
  await control();
  const controlled = load.takeLatencies();
  const before = await figuresOf(site);
  let peak = before.rss;
  const watching = setInterval(() => {
    peak = Math.max(peak, rssOf(site));
  }, 100);
  const ackedBefore = load.ledger.ackedTotal;
  await abuse();
  clearInterval(watching);
  const beside = load.takeLatencies();
  const ackedBeside = load.ledger.ackedTotal - ackedBefore;
  const isSettled = await load.settle(45_000);
  let audit = await load.auditRound(site.admin, await keepsCommitTimes(site.admin), isSettled);
  audit = addAudits(audit, await load.auditTotal(site.admin));
  // What the abuse took must come back by itself; what keepalive does not bring back counts as kept.
  let after = await figuresOf(site);
  const endMs = performance.now();
  while ((after.fds > before.fds + 10 || after.heap > before.heap + 8 * mib) && performance.now() - endMs < returnMaxMs) {
    await sleep(1_000);
    after = await figuresOf(site);
  }
  const returnedMs = Math.round(performance.now() - endMs);
  const quietP99 = percentile(quiet, 0.99);
  const controlP99 = percentile(controlled, 0.99);
  const besideP99 = percentile(beside, 0.99);
  audit = addAudits(audit, claim("I8", ackedBeside > 0 ? undefined : "healthy sessions got no ack beside it"));
  audit = addAudits(audit, claim("I7", after.fds <= before.fds + 10 ? undefined : `descriptors went from ${before.fds} to ${after.fds}`));
  const figures = {
    ...{
      quietP50: percentile(quiet, 0.5),
      quietP99,
      controlP99,
      besideP50: percentile(beside, 0.5),
      besideP99,
      ratioP99: ratioOf(besideP99, quietP99),
      ratioToControlP99: ratioOf(besideP99, controlP99),
    },
    ...{
      rssPeakGrowthMib: mibOf(peak - before.rss),
      rssAfterMib: mibOf(after.rss - before.rss),
      heapAfterMib: mibOf(after.heap - before.heap),
      returnedMs,
    },
  };
  return { figures, audit, acked: load.ledger.ackedTotal };
}

/** The middle of a line of the report: what the others felt. */
export function describeBeside({ figures }: Beside): string {
  const { quietP99, controlP99, besideP99 } = figures;
  return `others p99 ${quietP99} → ${besideP99} ms (×${figures.ratioP99}; ×${figures.ratioToControlP99} of ${controlP99} ms beside a dummy that was abused), memory +${figures.rssPeakGrowthMib} MiB at its peak, heap ${figures.heapAfterMib} MiB after`;
}

const ratioOf = (one: number, other: number): number => Math.round((one / Math.max(1, other)) * 10) / 10;
const mibOf = (bytes: number): number => Math.round((bytes / mib) * 10) / 10;
const rssOf = (site: Site): number => site.seats.reduce((sum, seat) => sum + residentBytes(seat.pid), 0);

async function figuresOf(site: Site): Promise<{ readonly rss: number; readonly heap: number; readonly fds: number }> {
  const figures = await Promise.all(site.seats.map((seat) => seat.figures()));
  return {
    rss: figures.reduce((sum, one) => sum + one.rss, 0),
    heap: figures.reduce((sum, one) => sum + one.heapUsed, 0),
    fds: figures.reduce((sum, one) => sum + one.fds, 0),
  };
}
