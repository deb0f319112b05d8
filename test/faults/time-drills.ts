import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type EventAck, EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { makeEvent } from "../support/make-event.js";
import { type Audit, addAudits, claim, emptyAudit } from "./audit.js";
import type { Drill, DrillContext } from "./fault.js";
import { EventLedger, statusName } from "./ledger.js";
import { orderly, type PlannedEvent, planInteraction, plannedId } from "./plan.js";
import { openSite, type Site, sleep } from "./site.js";
import { auditAll, reportOverGrpc, seatOf } from "./ways-in.js";

const dayMs = 86_400_000;

/** Events at the wrong time. */
export const timeDrills: readonly Drill[] = [
  {
    kind: "drill",
    id: "F19",
    title: "clocks off by an hour and by ten years, of clients and of the coordinator",
    run: async ({ site, rng, seed }) => {
      const mcpId = `skew-${seed.toString(36)}`;
      const ledger = new EventLedger();
      const seat = seatOf(site);
      const report = reportOverGrpc(seat);
      const offsets = [-3_650 * dayMs, -3_600_000, 0, 3_600_000, 3_650 * dayMs];
      let found: Audit = emptyAudit;
      let injected = 0;
      for (const coordinatorMs of offsets) {
        await seat.setClockAheadMs(coordinatorMs);
        for (const clientMs of offsets) {
          const atMs = Date.now() + clientMs;
          const [planned] = planInteraction(rng, `r-${injected}`, atMs, orderly).map((one) => one.planned);
          if (planned === undefined) continue;
          ledger.note(planned, mcpId, mcpId);
          const [ack] = await report(mcpId, [planned.init]);
          if (ack !== undefined) ledger.settleAck(ack, Date.now());
          injected += 1;
          const wanted = expectedUnderSkew(clientMs - coordinatorMs, coordinatorMs);
          const isRight = ack !== undefined && wanted.includes(ack.status);
          const what = `coordinator ${coordinatorMs / 3_600_000} h, client ${clientMs / 3_600_000} h ahead: ${statusName(ack?.status ?? 0)}, not ${wanted.map(statusName).join(" or ")}`;
          found = addAudits(found, claim("I10", isRight ? undefined : what));
        }
      }
      await seat.setClockAheadMs(0);
      await sleep(200);
      const after = makeEvent({ mcpId, interactionId: "after", eventId: plannedId(rng, Date.now()) });
      const [ack] = await report(mcpId, [after]);
      found = addAudits(
        found,
        claim("I8", ack?.status === EventStatus.STORED ? undefined : `after the clocks were right again: ${statusName(ack?.status ?? 0)}`),
      );
      return {
        what: `${injected} pairs of clocks`,
        injected,
        acked: ledger.ackedTotal,
        audit: addAudits(found, await auditAll(site, ledger, mcpId)),
        verdicts: ledger.verdicts,
      };
    },
  },
  {
    kind: "drill",
    id: "F20",
    title: "events on both sides of midnight, retried a day later, and events of a day that was dropped",
    run: async (context) => {
      const config = "[store]\nretention_days = 1\ndedupe_horizon_days = 1\nmaintenance_interval_seconds = 10\n";
      await using site = await openSite({ seats: 1, config });
      const { rng } = context;
      const mcpId = "midnight";
      const ledger = new EventLedger();
      const seat = seatOf(site);
      const report = reportOverGrpc(seat);
      // Days of the past: what is past retention is so by the clock of the database too, which stays right.
      const midnightMs = (Math.floor(Date.now() / dayMs) - 4) * dayMs;
      const events = [midnightMs - 1, midnightMs, midnightMs - 1, midnightMs + 1].flatMap((atMs, index) => planAt(rng, `r-${index}`, atMs));
      const send = async (): Promise<readonly EventAck[]> => {
        for (const planned of events) ledger.note(planned, mcpId, mcpId);
        const acks = await report(
          mcpId,
          events.map(({ init }) => init),
        );
        for (const ack of acks) ledger.settleAck(ack, Date.now());
        return acks;
      };
      // At noon of the day, so that both sides are within the horizon whenever this runs.
      await seat.setClockAheadMs(midnightMs + dayMs / 2 - Date.now());
      const made = await waitForDay(site, midnightMs, true);
      if (!made) throw new Error("maintenance did not make room for the day of the coordinator's clock");
      const first = await send();
      const again = await send();
      const all = (acks: readonly EventAck[], status: EventStatus): string | undefined =>
        acks.every((ack) => ack.status === status)
          ? undefined
          : `expected ${statusName(status)}, got ${acks.map((ack) => statusName(ack.status)).join(", ")}`;
      let found = addAudits(
        claim("I1", all(first, EventStatus.STORED), events.length),
        claim("I1", all(again, EventStatus.DUPLICATE), events.length),
      );
      found = addAudits(found, await auditAll(site, ledger, mcpId));
      // Three days on, both days are beyond the horizon, and maintenance has dropped them.
      await seat.setClockAheadMs(midnightMs + 3.5 * dayMs - Date.now());
      const old = await send();
      found = addAudits(found, claim("I10", all(old, EventStatus.TOO_OLD), events.length));
      const partitions = async (): Promise<number> =>
        (
          await site.admin<
            { count: number }[]
          >`SELECT count(*)::int AS count FROM pg_inherits WHERE inhparent = 'interaction_event'::regclass`
        )[0]?.count ?? 0;
      const before = await partitions();
      const dropped = await waitForDay(site, midnightMs, false);
      found = addAudits(found, claim("I8", dropped ? undefined : "maintenance did not drop a day that is past retention"));
      const fresh = makeEvent({
        mcpId,
        interactionId: "fresh",
        occurredAt: timestampFromMs(midnightMs + 3.5 * dayMs),
        eventId: plannedId(rng, midnightMs + 3.5 * dayMs),
      });
      const [ack] = await report(mcpId, [fresh]);
      found = addAudits(
        found,
        claim("I8", ack?.status === EventStatus.STORED ? undefined : `an event of that day: ${statusName(ack?.status ?? 0)}`),
      );
      return {
        what: `${events.length} events around midnight three times, ${before} partitions before maintenance`,
        injected: 3,
        audit: found,
        verdicts: ledger.verdicts,
      };
    },
  },
];

function planAt(rng: DrillContext["rng"], interactionId: string, atMs: number): readonly PlannedEvent[] {
  return planInteraction(rng, interactionId, atMs, orderly).map(({ planned }) => planned);
}

/**
 * What an event meets whose clock is so far ahead of the coordinator's. The defaults: ten minutes ahead, seven days behind. A coordinator that is years
 * off accepts events of its own time and then finds no partition for them: refused, never stored in a wrong one.
 */
function expectedUnderSkew(aheadMs: number, coordinatorMs: number): readonly EventStatus[] {
  if (aheadMs > 600_000) return [EventStatus.CLOCK_SKEW];
  if (aheadMs < -7 * dayMs) return [EventStatus.TOO_OLD];
  return Math.abs(coordinatorMs) > 7 * dayMs ? [EventStatus.INVALID] : [EventStatus.STORED];
}

/** Waits until the partition of the day before midnight is there, or is gone. */
async function waitForDay(site: Site, midnightMs: number, isThere: boolean): Promise<boolean> {
  const name = `interaction_event_${new Date(midnightMs - 1).toISOString().slice(0, 10).replaceAll("-", "")}`;
  for (const untilMs = performance.now() + 25_000; performance.now() < untilMs; await sleep(500)) {
    const rows = await site.admin`SELECT 1 FROM pg_class WHERE relname = ${name}`;
    if (rows.length > 0 === isThere) return true;
  }
  return false;
}
