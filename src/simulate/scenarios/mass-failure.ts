import { plainRequest } from "../../smart-router/request.js";
import { normalWorkOf, poisson, steady } from "../arrivals.js";
import { contenderNamed } from "../contenders.js";
import { countsByServer, type Figures, measured } from "../figures.js";
import { bound } from "../judging.js";
import type { RunLog } from "../run-log.js";
import { type Scenario, worldCell } from "../scenario.js";
import { equalServers, type Fault, plainWorld, type World } from "../world.js";

const serverCount = 20;
const failingCount = 14;
const dyingCount = 8;
const fromMs = 30_000;
const dieMs = 60_000;
const untilMs = 90_000;
const horizonMs = 150_000;
const windowMs = 10_000;
const cell = "20 servers, 14 fail, 8 of these die";
const ours = "P13-ours";

export function massFailureWorld(): World {
  const servers = equalServers(serverCount, { cores: 4, capacity: 100 }, (index) => {
    const fail: Fault = { kind: "fail", fromMs, untilMs, share: 1 };
    const die: Fault = { kind: "die", fromMs: dieMs, untilMs };
    return { faults: [...(index < dyingCount ? [die] : []), ...(index < failingCount ? [fail] : [])] };
  });
  // Six servers of four cores can do 277 a second: what is left is enough for all.
  return {
    ...plainWorld,
    servers,
    measureFromMs: 10_000,
    arrivals: steady(poisson(180), normalWorkOf(80), horizonMs, { ...plainRequest, isIdempotent: true }),
  };
}

function massFigures(log: RunLog): Figures {
  const during = measured(log, fromMs, untilMs);
  let overshoot = 0;
  for (let startMs = untilMs; startMs < horizonMs; startMs += windowMs) {
    const outcomes = measured(log, startMs, startMs + windowMs);
    const counts = countsByServer(outcomes, serverCount).slice(0, failingCount);
    overshoot = Math.max(overshoot, counts.reduce((a, b) => Math.max(a, b), 0) / (outcomes.length / serverCount));
  }
  const after = measured(log, untilMs + 10_000);
  return {
    availabilityPercent: (100 * during.filter((one) => one.result === "ok").length) / during.length,
    overshoot,
    afterPercent: (100 * after.filter((one) => one.result === "ok").length) / after.length,
  };
}

export const massFailure: Scenario = {
  id: "S12",
  name: "mass-failure",
  question:
    "Seven of ten servers fail for a minute and four of ten lose their stream: how much is still answered, and who is flooded afterwards?",
  setting:
    "20 servers of four cores, 180 requests a second. 14 of them fail everything from t = 30 s to 90 s; 8 of these are gone altogether from t = 60 s. The six that are left can do " +
    "277 a second, so the bound of availability is 100 %. Overshoot: the greatest share of one that has recovered, over the fair one, in any 10 s (1800 requests) of the minute after.",
  contenders: [
    ours,
    "P2-round-robin",
    "P5-least-requests",
    "P6-two-choices",
    "P6o-two-choices-a50",
    "P7-peak-ewma",
    "P9-prequal",
    "P10-litellm-latency",
  ],
  cells: [worldCell(cell, contenderNamed, massFailureWorld, massFigures)],
  columns: [
    { figure: "availabilityPercent", heading: "answered, %", digits: 2 },
    { figure: "overshoot", heading: "overshoot, of fair", digits: 2 },
    { figure: "afterPercent", heading: "answered afterwards, %", digits: 2 },
  ],
  claims: [
    {
      text: "at least 98 % answered: the bound of what lives, less 2 %",
      judge: bound(cell, ours, "availabilityPercent", { atLeast: 98 }, 2, " %"),
    },
    {
      text: "nobody who has recovered gets more than 1.5 × the fair share",
      judge: bound(cell, ours, "overshoot", { atMost: 1.5 }, 2, " of fair"),
    },
  ],
};
