import type { Rng } from "../../../src/platform/rng.js";
import { say, sleep } from "../results.js";
import type { ReportingMcp } from "./reporters.js";
import type { ReportingSite } from "./site.js";

/** Something that is killed and comes back. `kill` gives false when there is nothing to kill. */
type Victim = {
  readonly name: string;
  readonly weight: number;
  readonly kill: () => Promise<boolean>;
  readonly start: () => Promise<void>;
};

/**
 * Kills something at random every 0.5 to 3 s until `isOver`, and brings each back after 0.1 to 3 s, so that several may be away at once. All are back when it resolves.
 * Gives how often each was killed.
 */
export async function killAtRandom(
  site: ReportingSite,
  mcps: readonly ReportingMcp[],
  rng: Rng,
  isOver: () => boolean,
): Promise<Readonly<Record<string, number>>> {
  const victims = victimsOf(site, mcps);
  const kills: Record<string, number> = Object.fromEntries(victims.map(({ name }) => [name, 0]));
  const away = new Map<string, Promise<void>>();
  while (!isOver()) {
    await sleep(500 + rng() * 2_500);
    const victim = pick(victims, rng);
    const downMs = 100 + rng() * 2_900;
    if (isOver() || away.has(victim.name)) continue;
    const back = (async () => {
      if (!(await victim.kill())) return;
      kills[victim.name] = (kills[victim.name] ?? 0) + 1;
      await sleep(downMs);
      await victim.start();
    })();
    away.set(
      victim.name,
      back.finally(() => away.delete(victim.name)),
    );
  }
  await Promise.all(away.values());
  say(`killed: ${JSON.stringify(kills)}`);
  return kills;
}

function victimsOf({ seats, postgres, redis }: ReportingSite, mcps: readonly ReportingMcp[]): readonly Victim[] {
  const always = (kill: () => Promise<void>) => async () => {
    await kill();
    return true;
  };
  return [
    ...seats.map((seat) => ({ name: seat.name, weight: 3, kill: always(() => seat.kill()), start: () => seat.start() })),
    { name: "Postgres", weight: 2, kill: always(postgres.stopImmediate), start: postgres.start },
    { name: "Redis", weight: 3, kill: always(redis.kill), start: redis.start },
    ...mcps.map((mcp) => ({
      ...{ name: mcp.mcpId, weight: 3 / mcps.length, kill: () => mcp.kill() },
      start: async () => mcp.start(),
    })),
  ];
}

function pick(victims: readonly Victim[], rng: Rng): Victim {
  let at = rng() * victims.reduce((sum, { weight }) => sum + weight, 0);
  for (const victim of victims) {
    at -= victim.weight;
    if (at < 0) return victim;
  }
  const [first] = victims;
  if (first === undefined) throw new Error("there is nothing to kill");
  return first;
}
