import { seededRng } from "../../../src/platform/rng.js";
import { none, say, setting } from "../results.js";
import { audit, untilArrived } from "./audit.js";
import { killAtRandom } from "./kills.js";
import { ReportingMcp, untilDrained } from "./reporters.js";
import type { ReportingDrill, StageResult } from "./run.js";

/** Reports while coordinators, Postgres, Redis and the reporters themselves are killed at random; then looks every event up. */
export async function runKills({ site, dir, seed, events, reporters }: ReportingDrill): Promise<StageResult> {
  const last = Math.ceil(events / 3 / reporters);
  const perSecond = setting("PER_SECOND", 8_000) / reporters;
  const mcps = Array.from({ length: reporters }, (_, index) => new ReportingMcp(site, dir, "killed", index, { last, perSecond }));
  const beganMs = performance.now();
  for (const mcp of mcps) mcp.start();
  const wanted = last * 3 * reporters;
  const resolvedCount = () => mcps.reduce((sum, mcp) => sum + mcp.resolvedCount, 0);
  // The last twentieth is left in peace: it is the end of the outage for all of them.
  const kills = await killAtRandom(
    site,
    mcps,
    seededRng(seed),
    () => resolvedCount() >= wanted * 0.95 || mcps.every(({ isDone }) => isDone),
  );
  const killedMs = performance.now() - beganMs;
  await untilDrained(mcps, 900_000);
  const seconds = (performance.now() - beganMs) / 1_000;
  const sql = site.connect();
  const left = await untilArrived(sql, site.redis.client);
  const arrivedSeconds = (performance.now() - beganMs) / 1_000;
  const ledgers = new Map(mcps.map((mcp) => [mcp.mcpId, mcp.ledger]));
  const found = await audit(sql, ledgers, (mcpId) => mcpId.startsWith("killed"));
  await sql.end();
  for (const example of found.examples) say(example);
  const sum = (of: "setAside" | "full" | "refused" | "droppedProgress", isNow = false) =>
    mcps.reduce(
      (total, { standing, standings }) => total + (isNow ? (standing?.[of] ?? 0) : standings.reduce((s, one) => s + one[of], 0)),
      0,
    );
  const killCount = Object.values(kills).reduce((total, count) => total + count, 0);
  return {
    figures: [
      { name: "events that were durable in a spool", value: found.durable, unit: "" },
      { name: "kills", value: killCount, unit: "" },
      {
        name: "events a second, reported until stored, with the kills",
        value: (found.durable + found.undecidedStored) / seconds,
        unit: "/s",
      },
      { name: "until all spools were empty", value: seconds, unit: "s" },
      { name: "until nothing was on the way either", value: arrivedSeconds, unit: "s" },
      none("lost", found.lost),
      none("stored twice", found.twice),
      none("rows that nobody has reported", found.strangers),
      none("interactions that differ from their events", found.wrongInteractions),
      none("set aside by a reporter", sum("setAside", true)),
      none("reports refused, not taken, or progress dropped", sum("full") + sum("refused") + sum("droppedProgress")),
      none("dead letters", left.deadLetters),
      none("left on the way: rows of the table, entries of the stream", left.rows + left.entries),
      { name: "events of killed reporters that were not durable yet", value: found.undecided, unit: "" },
      { name: "of them stored, once", value: found.undecidedStored, unit: "" },
    ],
    details: {
      kills,
      killedForSeconds: Math.round(killedMs / 1_000),
      reporters: Object.fromEntries(
        mcps.map((mcp) => [
          mcp.mcpId,
          {
            ...{ kills: mcp.kills, resolved: Object.fromEntries(mcp.resolved), troubles: Object.fromEntries(mcp.troubles) },
            choices: mcp.choices.map(({ transport, reason, atMs }) => ({
              atSecond: Math.round((atMs - mcp.startedMs) / 1_000),
              transport,
              reason,
            })),
          },
        ]),
      ),
      examples: found.examples,
    },
  };
}
