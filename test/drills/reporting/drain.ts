import { none, say, setting, sleep, until } from "../results.js";
import { audit, untilArrived } from "./audit.js";
import { ReportingMcp, untilDrained } from "./reporters.js";
import type { ReportingDrill, StageResult } from "./run.js";

/** How late a verdict may come that was not delayed by the replay of a backlog.     Unit: ms. */
const liveMaxMs = 1_000;

/** Everything is away while one reporter reports OUTAGE events; then all come back, and it goes on reporting a hundred a second while its spool drains. */
export async function runDrain({ site, dir }: ReportingDrill): Promise<StageResult> {
  const outage = setting("OUTAGE", 1_000_000);
  const burst = Math.ceil(outage / 150) * 50;
  for (const seat of site.seats) await seat.kill();
  await site.redis.kill();
  await site.postgres.stop();
  const mcp = new ReportingMcp(site, dir, "drained", 0, { last: 100_000_000, perSecond: 100, burst });
  const beganMs = performance.now();
  mcp.start();
  await until(
    "the outage's events are in the spool",
    600_000,
    () => (mcp.standing?.waiting ?? 0) >= burst * 3,
    () => mcp.standing,
  );
  const reportedS = (performance.now() - beganMs) / 1_000;
  await sleep(2_000);
  say(`${mcp.standing?.waiting} events in the spool after ${reportedS.toFixed(1)} s; all come back`);
  await site.postgres.start();
  await site.redis.start();
  await Promise.all(site.seats.map((seat) => seat.start()));
  const backMs = performance.now();
  await until(
    "the backlog is drained",
    600_000,
    () => mcp.drained !== undefined,
    () => mcp.standing,
  );
  const sinceBackS = (performance.now() - backMs) / 1_000;
  await sleep(500);
  const live = mcp.standing;
  mcp.finish();
  await untilDrained([mcp], 60_000);
  const sql = site.connect();
  await untilArrived(sql, site.redis.client);
  const found = await audit(sql, new Map([[mcp.mcpId, mcp.ledger]]), (mcpId) => mcpId === mcp.mcpId);
  await sql.end();
  for (const example of found.examples) say(example);
  const { events = 0, ms = Number.POSITIVE_INFINITY, inversions = {}, overtaken = -1 } = mcp.drained ?? {};
  const perSecond = (events / ms) * 1_000;
  const [p99Ms, maxMs] = [live?.liveP99Ms ?? Number.NaN, live?.liveMaxMs ?? Number.NaN];
  return {
    figures: [
      { name: "events of an outage in one spool", value: events, unit: "" },
      { name: "their drain, first verdict to last", value: perSecond, unit: "/s", target: ">= 20 000 /s", isMet: perSecond >= 20_000 },
      { name: "from the coordinators' return to the last verdict", value: sinceBackS, unit: "s" },
      // Two coordinators share the stream of Redis, and two requests of HTTP are under way at once: order is what the gRPC stream promises.
      none("of them settled by gRPC after one that was reported later", inversions.grpc ?? 0),
      { name: "of them settled after a later one, over all transports", value: overtaken, unit: "" },
      { name: "verdicts of live events during the drain, p99", value: p99Ms, unit: "ms", target: "<= 1 000 ms", isMet: p99Ms <= liveMaxMs },
      { name: "the longest of them", value: maxMs, unit: "ms" },
      none("of all these lost, stored twice or wrong", found.lost + found.twice + found.strangers + found.wrongInteractions),
    ],
    details: { reportedSeconds: reportedS, resolved: Object.fromEntries(mcp.resolved), inversions, choices: mcp.choices },
  };
}
