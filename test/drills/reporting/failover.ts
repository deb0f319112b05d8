import type { TransportName } from "../../../src/client/index.js";
import { none, say, sleep, until } from "../results.js";
import { audit, untilArrived } from "./audit.js";
import { ReportingMcp, untilDrained } from "./reporters.js";
import type { ReportingDrill, StageResult } from "./run.js";

/** How long a reporter is watched before and after each fault.     Unit: ms. */
const calmMs = 8_000;

type Move = { readonly mcpId: string; readonly fault: string; readonly to: string; readonly failoverMs: number; readonly backMs: number };

/**
 * A steady load; first the coordinator of half of the reporters is killed, then that of the others stands still. Those whose gRPC it was have to go on over another transport, and
 * come back by themselves, without ever stepping down again; the others must not move at all.
 */
export async function runFailover({ site, dir, reporters }: ReportingDrill): Promise<StageResult> {
  const mcps = Array.from({ length: Math.max(2, reporters) }, (_, index) => {
    return new ReportingMcp(site, dir, "moved", index, { last: 1_000_000, perSecond: 300 });
  });
  for (const mcp of mcps) mcp.start();
  await until("all reporters report over gRPC", 60_000, () => mcps.every((mcp) => mcp.resolvedCount > 100 && lastOf(mcp) === "grpc"));
  await sleep(calmMs);
  const moves: Move[] = [];
  const strayed = new Map<string, number>();
  const stray = (what: string, count: number) => strayed.set(what, (strayed.get(what) ?? 0) + count);
  const [first, second] = site.seats;
  const faults = [
    { ...{ seat: first, home: 0, what: "kill -9", lastsMs: calmMs }, hurt: () => first.kill(), heal: () => first.start() },
    {
      ...{ seat: second, home: 1, what: "SIGSTOP", lastsMs: 2 * calmMs },
      hurt: async () => second.signal("SIGSTOP"),
      heal: async () => second.signal("SIGCONT"),
    },
  ];
  for (const { seat, home, what, lastsMs, hurt, heal } of faults) {
    const moved = mcps.filter((mcp) => mcp.home === home);
    const before = new Map(mcps.map((mcp) => [mcp, mcp.choices.length]));
    const hurtMs = Date.now();
    await hurt();
    await until("the reporters report over another transport", 30_000, () => moved.every((mcp) => workedAfter(mcp, hurtMs) !== undefined));
    // The second one for longer than a transport must have been well before it is used again: one that says nothing is not well.
    await sleep(lastsMs);
    await heal();
    const healedMs = Date.now();
    await until(
      "they are back at gRPC",
      120_000,
      () => moved.every((mcp) => lastOf(mcp) === "grpc"),
      () => moved.map(lastOf),
    );
    await sleep(calmMs);
    for (const mcp of mcps) {
      const choices = mcp.choices.slice(before.get(mcp) ?? 0);
      if (mcp.home !== home) {
        stray(what, choices.length);
        continue;
      }
      stray(what, stepsDown(choices.map(({ transport }) => transport)) - 1);
      const working = workedAfter(mcp, hurtMs);
      const back = choices.findLast(({ transport }) => transport === "grpc");
      moves.push({
        ...{ mcpId: mcp.mcpId, fault: what, to: working?.transport ?? "", failoverMs: (working?.atMs ?? 0) - hurtMs },
        backMs: (back?.atMs ?? 0) - healedMs,
      });
    }
    say(`${seat.name}, ${what}: ${JSON.stringify(moves.filter(({ fault }) => fault === what))}`);
  }
  for (const mcp of mcps) mcp.finish();
  await untilDrained(mcps, 60_000);
  const sql = site.connect();
  await untilArrived(sql, site.redis.client);
  const found = await audit(sql, new Map(mcps.map((mcp) => [mcp.mcpId, mcp.ledger])), (mcpId) => mcpId.startsWith("moved"));
  await sql.end();
  for (const example of found.examples) say(example);
  const longest = (of: "failoverMs" | "backMs", what: string) =>
    Math.max(...moves.filter(({ fault }) => fault === what).map((move) => move[of])) / 1_000;
  const longestS = longest("failoverMs", "kill -9");
  return {
    figures: [
      {
        name: "longest failover, kill -9 to first verdict over another transport",
        value: longestS,
        unit: "s",
        target: "< 5 s",
        isMet: longestS < 5,
      },
      { name: "longest fail-back, after the coordinator was back", value: longest("backMs", "kill -9"), unit: "s" },
      none("changes to a worse transport besides the one that the kill forces", strayed.get("kill -9") ?? 0),
      // Without a target: up to limits.transportSilenceMaxMs until it is left, and row locks that it holds last limits.idleInTransactionMs.
      { name: "longest failover from one that stands still", value: longest("failoverMs", "SIGSTOP"), unit: "s" },
      { name: "longest fail-back to it", value: longest("backMs", "SIGSTOP"), unit: "s" },
      { name: "changes to a worse transport besides the one that it forces", value: strayed.get("SIGSTOP") ?? 0, unit: "" },
      { name: "events durable during the failovers", value: found.durable, unit: "" },
      none("of them lost, stored twice or wrong", found.lost + found.twice + found.strangers + found.wrongInteractions),
    ],
    details: { moves, choices: Object.fromEntries(mcps.map(({ mcpId, choices }) => [mcpId, choices])) },
  };
}

const lastOf = (mcp: ReportingMcp) => mcp.choices.at(-1)?.transport;

/** How often the next transport is less preferred than the one before; the first is grpc. On the way back a reporter may climb by more than one step. */
function stepsDown(transports: readonly (TransportName | undefined)[]): number {
  const ranks = ["grpc" as const, ...transports].map((name) => (name === undefined ? -1 : preference.indexOf(name)));
  return ranks.filter((rank, at) => at > 0 && rank > (ranks[at - 1] ?? 0)).length;
}

/** Best first. Source: docs/reporter.md. */
const preference: readonly TransportName[] = ["grpc", "redis", "http", "database"];

/** The first verdict over a transport that was chosen after this moment. */
function workedAfter(mcp: ReportingMcp, atMs: number) {
  const chosen = mcp.choices.find((choice) => choice.atMs > atMs);
  return chosen === undefined ? undefined : mcp.workings.find((working) => working.atMs >= chosen.atMs && working.transport !== "grpc");
}
