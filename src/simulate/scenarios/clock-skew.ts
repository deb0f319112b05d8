import { normalWorkOf, poisson, steady } from "../arrivals.js";
import { contenderNamed } from "../contenders.js";
import { simulate } from "../engine.js";
import { commonFigures, type Figures } from "../figures.js";
import { bound } from "../judging.js";
import { routerContender } from "../router-contender.js";
import type { Cell, Scenario } from "../scenario.js";
import { antagonist, equalServers, plainWorld, type World } from "../world.js";

const ours = "P13-ours";
const offsetMs = 300_000;
const lengthMs = 60_000;
const wall = "wall clocks 5 minutes apart and 100 ppm fast";
const monotonic = "and monotonic clocks of MCPs 100 ppm fast or slow";

function skewWorld(horizonMs: number): World {
  const servers = equalServers(10, { cores: 4, capacity: 100 }, (index) => ({ contention: antagonist(index, 10, horizonMs) }));
  return { ...plainWorld, servers, measureFromMs: 0, arrivals: steady(poisson(200), normalWorkOf(80), horizonMs) };
}

/** How far the clock of an MCP runs too fast, as a share: they go both ways. */
const driftOf = (mcpId: string): number => (Number(mcpId.slice(-3)) % 2 === 0 ? 1e-4 : -1e-4);

/** The same requests with clocks that are right and with clocks that are not. */
function skewCell(name: string, driftFor: (mcpId: string) => number): Cell {
  return {
    name,
    run: (contender, seed, material): Figures => {
      const world = skewWorld(lengthMs * material.scale);
      const right = simulate(world, contenderNamed(contender), seed);
      const clocks = {
        coordinatorAheadMs: seed % 2 === 0 ? offsetMs : -offsetMs,
        coordinatorDrift: 1e-4,
        durationFactor: (mcpId: string) => 1 + driftFor(mcpId),
      };
      const skewed = simulate(
        world,
        routerContender(contender, {}, () => {}, { clocks }),
        seed,
      );
      const different = right.outcomes.filter((outcome, index) => outcome.server !== skewed.outcomes[index]?.server).length;
      const p99 = commonFigures(right).p99Ms ?? Number.NaN;
      return {
        different,
        p99ChangePercent: (100 * ((commonFigures(skewed).p99Ms ?? Number.NaN) - p99)) / p99,
        decisions: right.outcomes.length,
      };
    },
  };
}

export const clockSkew: Scenario = {
  id: "S17",
  name: "clock-skew",
  question: "Clocks are wrong: does any decision change?",
  setting:
    "Ten servers with the neighbours of S2, 200 requests a second for a minute, each run twice: with right clocks, and with a coordinator whose wall clock is 5 minutes off (ahead for even seeds, behind for odd " +
    "ones) and runs 100 ppm too fast; then with MCPs as well whose monotonic clocks, by which they report durations, run 100 ppm too fast or too slow in turns, rounded to the microsecond. The wall clocks of MCPs do not come into it: no " +
    "time of day that an MCP claims is read by the router. A decision depends on latencies as real numbers: one that differs by a ten-thousandth sooner or later draws another MCP, and from then on the two runs are " +
    "two samples of the same behaviour, which the change of p99 compares.",
  contenders: [ours],
  cells: [skewCell(wall, () => 0), skewCell(monotonic, driftOf)],
  columns: [
    { figure: "different", heading: "decisions that differ", digits: 1 },
    { figure: "decisions", heading: "of", digits: 0 },
    { figure: "p99ChangePercent", heading: "change of p99, %", digits: 2 },
  ],
  claims: [
    { text: `${wall}: every decision is the same`, judge: bound(wall, ours, "different", { atMost: 0 }, 1, " differ") },
    { text: `${monotonic}: every decision is the same`, judge: bound(monotonic, ours, "different", { atMost: 0 }, 1, " differ") },
  ],
};
