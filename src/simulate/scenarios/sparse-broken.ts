import { normalWorkOf, poisson, steady } from "../arrivals.js";
import { contenderNamed } from "../contenders.js";
import { type Figures, measured } from "../figures.js";
import { bound } from "../judging.js";
import type { RunLog } from "../run-log.js";
import { type Scenario, worldCell } from "../scenario.js";
import { equalServers, plainWorld, type World } from "../world.js";

const brokenFromMs = 120_000;
const horizonMs = 720_000;
const cell = "20 servers, 0.2/s each";
const ours = "P13-ours";

function sparseWorld(): World {
  const fault = { kind: "fail", fromMs: brokenFromMs, untilMs: Number.POSITIVE_INFINITY, share: 1 } as const;
  const servers = equalServers(20, { cores: 4, capacity: 10 }, (index) => (index === 0 ? { faults: [fault] } : {}));
  return { ...plainWorld, servers, measureFromMs: brokenFromMs, arrivals: steady(poisson(4), normalWorkOf(500), horizonMs) };
}

function sparseFigures(log: RunLog): Figures {
  return { failures: measured(log).filter((one) => one.result !== "ok").length };
}

export const sparseBroken: Scenario = {
  id: "S11",
  name: "sparse-broken",
  question: "One of twenty servers fails everything, and each gets a request in five seconds: how many fail in ten minutes?",
  setting:
    "20 servers, 4 requests a second in all, Normal(500 ms) work; the first server does the work and then fails, from t = 120 s on, for good. Outlier detection as gRPC has it (A50, over two " +
    "choices) wants 100 requests of each of five servers, or 50 of one, within 10 s.",
  contenders: [ours, "P2-round-robin", "P6-two-choices", "P6o-two-choices-a50", "P7-peak-ewma", "P9-prequal", "P10-litellm-latency"],
  cells: [worldCell(cell, contenderNamed, sparseWorld, sparseFigures)],
  columns: [{ figure: "failures", heading: "failed of 2400", digits: 1 }],
  claims: [{ text: "at most 6 failures in all", judge: bound(cell, ours, "failures", { atMost: 6 }, 1, "") }],
};
