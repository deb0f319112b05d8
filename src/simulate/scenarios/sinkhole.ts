import { normalWorkOf, poisson, steady } from "../arrivals.js";
import { contenderNamed } from "../contenders.js";
import { type Figures, measured } from "../figures.js";
import { bound } from "../judging.js";
import type { RunLog } from "../run-log.js";
import { type Scenario, worldCell } from "../scenario.js";
import { equalServers, plainWorld, type World } from "../world.js";

const fromMs = 20_000;
const untilMs = 50_000;
const horizonMs = 60_000;
const cell = "10 servers, one fails in 1 ms";
const ours = "P13-ours";

export function sinkholeWorld(): World {
  const fault = { kind: "fail_fast", fromMs, untilMs, share: 1, afterMs: 1 } as const;
  const servers = equalServers(10, { cores: 4, capacity: 100 }, (index) => (index === 0 ? { faults: [fault] } : {}));
  return { ...plainWorld, servers, measureFromMs: 10_000, arrivals: steady(poisson(200), normalWorkOf(80), horizonMs) };
}

function sinkholeFigures(log: RunLog): Figures {
  const during = measured(log, fromMs, untilMs);
  const there = during.filter((one) => one.server === 0);
  // Left alone for a second: ten times as long as the mean gap between its requests, and more.
  const leftAfter = there.findIndex((one, index) => (there[index + 1]?.arrival.atMs ?? untilMs) - one.arrival.atMs > 1_000) + 1;
  return {
    errorPercent: (100 * during.filter((one) => one.result !== "ok").length) / during.length,
    sentBeforeLeft: there.length === 0 ? 0 : leftAfter === 0 ? there.length : leftAfter,
    sentThere: there.length,
  };
}

export const sinkhole: Scenario = {
  id: "S4",
  name: "sinkhole",
  question: "One of ten servers answers every request with an error after 1 ms for half a minute: how many requests does it attract?",
  setting:
    "10 servers of four cores, Normal(80 ms) work, 200 requests a second; the first server fails from t = 20 s to 50 s. Shares are of the requests in that time. Whoever judges by " +
    "latency or by requests in flight alone finds it the best of all.",
  contenders: [
    ours,
    "P2-round-robin",
    "P5-least-requests",
    "P6-two-choices",
    "P7-peak-ewma",
    "P8-c3",
    "P9-prequal",
    "P10-litellm-latency",
    "P0-oracle",
  ],
  cells: [worldCell(cell, contenderNamed, sinkholeWorld, sinkholeFigures)],
  columns: [
    { figure: "errorPercent", heading: "errors, %", digits: 2 },
    { figure: "sentBeforeLeft", heading: "requests before it is left alone", digits: 1 },
    { figure: "sentThere", heading: "requests sent there", digits: 0 },
  ],
  claims: [
    { text: "at most 0.5 % errors while it fails", judge: bound(cell, ours, "errorPercent", { atMost: 0.5 }, 2, " %") },
    { text: "left alone after at most 5 requests", judge: bound(cell, ours, "sentBeforeLeft", { atMost: 5 }, 1, "") },
  ],
};
