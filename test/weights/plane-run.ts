import postgres from "postgres";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { type Applied, readPlane, StubbornMcp, WatchingMcp, weightIn } from "./streams.js";

/** What a run of S14 found. Times in ms, over the acks that the coordinator that lived at the end, and the one before, still counted. */
export type PlaneRun = {
  readonly streams: number;
  readonly publications: number;
  /** Tables that clients put in force, and those among them that nobody published, or that were older than the one before. */
  readonly applications: number;
  readonly wrongApplications: number;
  /** Tables sent to the MCP that rejects them all, and those whose digest it had rejected before. */
  readonly rejectedTables: number;
  readonly resentDigests: number;
  readonly withheld: number;
  readonly deltaShare: number;
  /** Before the kill, from publication to APPLIED. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** From kill -9 to the moment when every stream that answers has the newest table of the next coordinator. */
  readonly recoveredMs: number;
};

/** How long anything may take before the run gives up. */
const patienceMs = 240_000;

/**
 * S14: `count` streams on one coordinator over loopback, one of them slow, one that rejects every table; `rounds` MCPs come and go;
 * then kill -9 and a new coordinator on the same store and port.
 */
export async function runWeightPlane(databaseUrl: string, count: number, rounds: number): Promise<PlaneRun> {
  let coordinator = await startCoordinatorProcess({ databaseUrl });
  const { target } = coordinator;
  const watchers = Array.from({ length: count - 2 }, (_, index) => new WatchingMcp(target, `mcp-${index}`, `p-${index}`));
  const stubborn = [new StubbornMcp(target, "slow", 2_000), new StubbornMcp(target, "rejecter", "reject")];
  try {
    await settled(target, watchers);
    await comeAndGo(target, rounds);
    const before = await untilWithheld(target);
    await untilStored(target, stubborn[1]?.digests ?? []);
    const killedAt = performance.now();
    coordinator.signal("SIGKILL");
    await coordinator.exited;
    for (const one of stubborn) one.close();
    coordinator = await restart(coordinator, databaseUrl, target);
    stubborn.push(new StubbornMcp(target, "slow", 2_000), new StubbornMcp(target, "rejecter", "reject"));
    await settled(target, watchers);
    const recoveredMs = performance.now() - killedAt;
    await comeAndGo(target, 2);
    const after = await readPlane(target);
    const published = await readPublished(databaseUrl);
    const rejected = [...(stubborn[1]?.digests ?? []), ...(stubborn[3]?.digests ?? [])];
    const { updatesSent, deltasSent } = before.plane;
    return {
      streams: count,
      publications: published.size,
      applications: watchers.reduce((sum, { applied }) => sum + applied.length, 0),
      wrongApplications: watchers.reduce((sum, { applied }) => sum + wrongIn(applied, published), 0),
      rejectedTables: rejected.length,
      resentDigests: rejected.length - new Set(rejected).size,
      withheld: Number(before.plane.withheld + after.plane.withheld),
      deltaShare: Number(deltasSent) / Number(updatesSent),
      p50Ms: msOf(before.plane.publishToAppliedP50),
      p99Ms: msOf(before.plane.publishToAppliedP99),
      recoveredMs,
    };
  } finally {
    for (const one of stubborn) one.close();
    await Promise.all(watchers.map((one) => one[Symbol.asyncDispose]()));
    await coordinator.stop();
  }
}

/** An MCP joins and leaves again, as often as it is said: a publication each, and one more when it has not come back. */
async function comeAndGo(target: string, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round += 1) {
    const name = `guest-${performance.now().toFixed(0)}-${round}`;
    await using guest = new WatchingMcp(target, name, `${name}-p`);
    await guest.until((routes) => (weightIn(routes, name) ?? 0) > 0);
    // Two publications are 250 ms apart; the next guest is to meet a quiet plane.
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

/** Waits for a publication of a table that was rejected before: a refresh, once the fleet is quiet. */
async function untilWithheld(target: string): ReturnType<typeof readPlane> {
  const giveUpAt = performance.now() + patienceMs;
  for (;;) {
    const read = await readPlane(target);
    if (read.plane.withheld > 0n) return read;
    if (performance.now() > giveUpAt) throw new Error(`no rejected table was published again within ${patienceMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** Waits until the last rejection is stored: a coordinator that is killed before cannot tell the next one of it. */
async function untilStored(target: string, digests: readonly string[]): Promise<void> {
  const giveUpAt = performance.now() + patienceMs;
  for (;;) {
    const { applied } = await readPlane(target);
    const stored = applied.find(({ mcpId }) => mcpId === "rejecter")?.answered?.digest;
    if (stored?.toString(16).padStart(16, "0") === digests.at(-1)) return;
    if (performance.now() > giveUpAt) throw new Error(`the last rejection was not stored within ${patienceMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function restart(before: RunningCoordinator, databaseUrl: string, target: string): Promise<RunningCoordinator> {
  await before.stop();
  return startCoordinatorProcess({ databaseUrl, flags: ["--grpc-port", target.split(":").at(-1) ?? ""] });
}

/** Resolves when every watcher is on the newest table of the coordinator, and all of them are in it. */
async function settled(target: string, watchers: readonly WatchingMcp[]): Promise<void> {
  const giveUpAt = performance.now() + patienceMs;
  for (;;) {
    const { version } = await readPlane(target);
    const routes = watchers.map(({ session }) => session.routes);
    const areAllIn = routes.every((one) => one?.version === version && one.routes.length >= watchers.length);
    if (areAllIn) return;
    if (performance.now() > giveUpAt) throw new Error(`after ${patienceMs} ms some streams are not on table ${version}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Digests of all publications, by "term/version". */
async function readPublished(databaseUrl: string): Promise<ReadonlyMap<string, string>> {
  const sql = postgres(databaseUrl, { max: 1 });
  try {
    const rows = await sql<{ term: string; version: string; digest: string }[]>`SELECT term, version, digest FROM routing_version`;
    return new Map(rows.map(({ term, version, digest }) => [`${term}/${version}`, digest]));
  } finally {
    await sql.end();
  }
}

/** Tables that were put in force although nobody published them so, or although a newer one had been in force. */
function wrongIn(applied: readonly Applied[], published: ReadonlyMap<string, string>): number {
  return applied.filter(({ term, version, digest }, index) => {
    const before = applied[index - 1];
    const isOlder = before !== undefined && (term < before.term || (term === before.term && version <= before.version));
    return isOlder || published.get(`${term}/${version}`) !== digest;
  }).length;
}

function msOf(duration: { readonly seconds: bigint; readonly nanos: number } | undefined): number {
  return duration === undefined ? Number.NaN : Number(duration.seconds) * 1_000 + duration.nanos / 1_000_000;
}
