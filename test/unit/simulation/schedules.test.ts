import { describe, expect, it } from "vitest";
import { EventStatus } from "../../../gen/mcp/coordinator/v1/events_pb.js";
import { addCounts, cellsOfTable, decidedByNumbers, hitsByCell, statuses, unreachable } from "../../simulation/coverage.js";
import { type Outcome, runSchedule } from "../../simulation/schedule.js";

/** SEED=n replays one schedule and tells its story. SCHEDULES=n runs more of them than the usual number, for a night. */
const { SEED, SCHEDULES } = process.env;
const replayed = SEED === undefined ? undefined : Number(SEED);
const scheduleCount = Number(SCHEDULES ?? 5_000);
/** Any edge and verdict must come up this often; one hit may be luck. */
const hitsMin = 3;
/** Ten times what 5,000 schedules take on one core of a busy machine. */
const patienceMs = 60_000 + scheduleCount * 60;

/** What to read when a schedule breaks an invariant. */
async function failureOf({ seed, breach }: Outcome): Promise<string> {
  const { story } = await runSchedule(seed, {}, true);
  return [`SEED=${seed}: ${breach}`, ...story.slice(-80), `replay: SEED=${seed} npx vitest run --project unit test/unit/simulation`].join(
    "\n",
  );
}

describe.runIf(replayed === undefined)(`${scheduleCount} schedules of crashes, cuts, outages, floods and reconnects`, () => {
  const edges = new Map<string, number>();
  const verdicts = new Map<EventStatus, number>();

  it("break no invariant: acked is stored once, nothing is acked before its commit, every session ends", {
    timeout: patienceMs,
  }, async () => {
    for (let seed = 1; seed <= scheduleCount; seed += 1) {
      const outcome = await runSchedule(seed);
      if (outcome.breach !== undefined) expect.fail(await failureOf(outcome));
      addCounts(edges, outcome.edges);
      addCounts(verdicts, outcome.verdicts);
    }
  });

  it("reach every cell of the session table that can be reached", () => {
    const hits = hitsByCell(edges);
    const cells = cellsOfTable();
    expect(cells.length).toBeGreaterThan(60);
    const missed = cells.filter((cell) => !(cell in unreachable) && (hits.get(cell) ?? 0) < hitsMin);
    expect(missed).toEqual([]);
    const reached = Object.keys(unreachable).filter((cell) => hits.has(cell) || !cells.includes(cell));
    expect(reached, "said to be unreachable, or not in the table").toEqual([]);
  });

  it("reach every step that numbers decide", () => {
    expect(decidedByNumbers.filter((edge) => (edges.get(edge) ?? 0) < hitsMin)).toEqual([]);
  });

  it("give every verdict", () => {
    expect(statuses.filter((status) => (verdicts.get(status) ?? 0) < hitsMin).map((status) => EventStatus[status])).toEqual([]);
  });
});

it("a seed gives the same schedule every time, step by step", async () => {
  for (const seed of [7, 8, 9]) {
    const first = await runSchedule(seed, {}, true);
    const second = await runSchedule(seed, {}, true);
    expect(second.story).toEqual(first.story);
    expect([...second.edges]).toEqual([...first.edges]);
  }
});

if (replayed !== undefined) {
  it(`schedule ${replayed} breaks no invariant`, async () => {
    const outcome = await runSchedule(replayed);
    if (outcome.breach !== undefined) expect.fail(await failureOf(outcome));
  });
}
