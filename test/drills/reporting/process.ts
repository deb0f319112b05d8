import { createReporter, type Reporter, type TransportName } from "../../../src/client/index.js";
import { createLatencies } from "../../../src/client/latencies.js";
import { uuidV7TimeMs } from "../../../src/platform/uuid-v7.js";
import { sleep } from "../results.js";
import { noteDurable, noteTaking } from "./ledger.js";
import type { ReportingLine, ReportingPlan } from "./lines.js";

/**
 * An MCP in a process of its own, to be killed: `node --import tsx process.ts <plan as JSON>`. Reports interactions at a steady pace, notes in its ledger what is durable, writes to
 * stdout how it stands, and ends when nothing is left in its spool. SIGTERM: reports no more.
 */
const stretch = 50;

// The cast: the drill gives what it has made of the same type.
const plan = JSON.parse(process.argv[2] ?? "{}") as ReportingPlan;
const resolved: Record<string, number> = {};
const live = createLatencies();
const backlog = { size: 0, resolved: 0, overtaken: 0, newestId: "", sinceMs: 0, firstVerdictMs: 0, burstEndMs: 0 };
/** The newest event of the burst that each transport has settled. */
const newestBy = new Map<TransportName, string>();
const inversions: Partial<Record<TransportName, number>> = {};
let chosen: TransportName | undefined;
let isWorking = true;
let isStopped = false;
process.once("SIGTERM", () => {
  isStopped = true;
});

const reporter = createReporter({
  ...{ mcpId: plan.mcpId, localCachePath: plan.spool, grpcTarget: plan.grpcTarget, coordinatorUrl: plan.coordinatorUrl },
  ...{ redisUrl: plan.redisUrl, databaseUrl: plan.databaseUrl, transport: "auto", retryDelay: 0.2, closeMaxMs: 1_000 },
  onTrouble: ({ message }) => tell({ kind: "trouble", message }),
  onState: ({ transport, reason }) => {
    if (transport === chosen) return;
    chosen = transport;
    isWorking = false;
    tell({ kind: "chosen", atMs: Date.now(), transport, reason });
  },
  onResolved: ({ eventId, outcome, transport }) => {
    const name = `${transport} ${outcome}`;
    resolved[name] = (resolved[name] ?? 0) + 1;
    const nowMs = Date.now();
    watch(eventId, transport, nowMs);
    if (isWorking || transport !== chosen) return;
    isWorking = true;
    tell({ kind: "working", atMs: nowMs, transport });
  },
});
const telling = setInterval(tellStanding, 200);
await report(reporter);
while (!(await reporter.flush(60_000)));
clearInterval(telling);
tellStanding();
tell({ kind: "done" });
await reporter.close();
process.exit(0);

async function report(to: Reporter): Promise<void> {
  let beganMs = performance.now();
  let paced = 0;
  for (let first = plan.first; first <= plan.last && !isStopped; first += stretch) {
    const last = Math.min(plan.last, first + stretch - 1);
    noteTaking(plan.ledger, first, last);
    let isTaken = true;
    for (let n = first; n <= last; n += 1) isTaken = reportOne(to, n) && isTaken;
    await to.durable();
    // What a full or failing spool did not take was never promised.
    if (isTaken && to.state.spool.kind === "disk") noteDurable(plan.ledger, first, last);
    if (last - plan.first < plan.burst) {
      beganMs = performance.now();
      backlog.burstEndMs = Date.now();
      continue;
    }
    paced += last - first + 1;
    const aheadMs = (paced * 3_000) / plan.perSecond - (performance.now() - beganMs);
    if (aheadMs > 1) await sleep(aheadMs);
  }
}

/** Tells what waited for the first verdict from what was reported after it. */
function watch(eventId: string, transport: TransportName, nowMs: number): void {
  if (backlog.firstVerdictMs === 0) {
    Object.assign(backlog, { firstVerdictMs: nowMs, sinceMs: performance.now(), size: reporter.state.counters.reported });
  }
  const bornMs = uuidV7TimeMs(eventId);
  if (bornMs > backlog.firstVerdictMs) {
    live.record(nowMs - bornMs);
    return;
  }
  backlog.resolved += 1;
  // Ids are minted in order, so their order is that of the reports. What came after the burst may go beside it.
  if (bornMs <= backlog.burstEndMs) {
    const newestId = newestBy.get(transport) ?? "";
    if (eventId < newestId) inversions[transport] = (inversions[transport] ?? 0) + 1;
    else newestBy.set(transport, eventId);
    if (eventId < backlog.newestId) backlog.overtaken += 1;
    else backlog.newestId = eventId;
  }
  if (backlog.resolved !== backlog.size) return;
  tell({
    kind: "drained",
    events: backlog.size,
    ms: performance.now() - backlog.sinceMs,
    inversions,
    overtaken: backlog.overtaken,
  });
}

/** Three events of one interaction, from which the audit knows what has to be in the database. */
function reportOne(to: Reporter, n: number): boolean {
  const id = `i-${n}`;
  const isStarted = to.reportStart(id, { requestType: "drill", parameters: { n } });
  const isUnderWay = to.reportProgress(id, { fraction: 0.5, step: `step ${n}` });
  const isFailure = n % 10 === 0;
  const isEnded = isFailure
    ? to.reportError(id, { errorCode: "DRILL", errorMessage: `n ${n}` })
    : to.reportComplete(id, { processingTimeMs: n % 1_000 });
  return isStarted && isUnderWay && isEnded;
}

function tellStanding(): void {
  const { transport, counters, spool } = reporter.state;
  tell({
    ...{ kind: "standing", transport, reported: counters.reported, full: counters.full, refused: counters.refused },
    ...{ spoolKind: spool.kind, waiting: spool.events, setAside: spool.setAside, droppedProgress: spool.droppedProgress },
    ...{ deferred: counters.deferred, resolved, liveP99Ms: live.quantile(0.99), liveMaxMs: live.max() },
  });
}

function tell(line: ReportingLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
