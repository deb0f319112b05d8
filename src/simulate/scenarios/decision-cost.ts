import { seededRng } from "../../platform/rng.js";
import { plainRequest } from "../../smart-router/request.js";
import { plainTarget } from "../../smart-router/router.js";
import { bound } from "../judging.js";
import { createSimulatedRouter } from "../router-contender.js";
import type { Cell, Scenario } from "../scenario.js";
import { quantile } from "../statistics.js";

const ours = "P13-ours";
const sizes = [10, 50, 500];
const warmUp = 3_000;
const nameOf = (count: number): string => `${count} MCPs`;

/** Decides again and again, with answers after 100 simulated ms, and takes the time of each decision. */
function costCell(count: number): Cell {
  return {
    name: nameOf(count),
    run: (_contender, seed, { monotonicMs, scale }) => {
      const router = createSimulatedRouter({ choices: seededRng(seed) });
      const mcpIds = Array.from({ length: count }, (_, index) => `mcp-${String(index).padStart(3, "0")}`);
      for (const mcpId of mcpIds) {
        router.configure({ ...plainTarget(mcpId), maxConcurrent: 100 }, 0);
        router.streamOpened(mcpId, `session ${mcpId}`, 0);
      }
      const rng = seededRng(seed + 1);
      const open: { readonly decisionId: string; readonly mcpId: string; readonly endsAtMs: number }[] = [];
      const costsUs: number[] = [];
      const decisions = warmUp + Math.round(10_000 * Math.max(0.2, scale) * Math.min(1, 50 / count));
      for (let index = 0; index < decisions; index++) {
        const nowMs = index * 5;
        if (index % 200 === 0) router.tick(nowMs);
        const beganMs = monotonicMs();
        const selection = router.select(plainRequest, nowMs);
        if (index >= warmUp) costsUs.push((monotonicMs() - beganMs) * 1_000);
        if (selection.kind === "decided")
          open.push({ decisionId: selection.decision.decisionId, mcpId: selection.decision.chosen, endsAtMs: nowMs + 100 });
        while (open[0] !== undefined && open[0].endsAtMs <= nowMs) {
          const { decisionId, mcpId } = open.shift() ?? { decisionId: "", mcpId: "" };
          const report = {
            result: "ok",
            durationMs: 50 + 100 * rng(),
            quality: rng(),
            auditedQuality: undefined,
            cost: undefined,
            errorCode: "",
          } as const;
          router.settle(decisionId, mcpId, report, nowMs);
        }
      }
      costsUs.sort((a, b) => a - b);
      return { p50Us: quantile(costsUs, 0.5), p99Us: quantile(costsUs, 0.99) };
    },
  };
}

export const decisionCost: Scenario = {
  id: "S21",
  name: "decision-cost",
  question: "What does a decision cost?",
  setting:
    "Router.select with 10, 50 and 500 MCPs, 20 requests in flight, signals of all of them warm; each decision is timed on the machine at hand, so these figures, and only these, depend " +
    "on it and on what else it does.",
  contenders: [ours],
  cells: sizes.map(costCell),
  columns: [
    { figure: "p50Us", heading: "p50 µs", digits: 1 },
    { figure: "p99Us", heading: "p99 µs", digits: 1 },
  ],
  claims: [
    { text: "50 MCPs: p50 at most 20 µs", judge: bound(nameOf(50), ours, "p50Us", { atMost: 20 }, 1, " µs") },
    { text: "50 MCPs: p99 at most 100 µs", judge: bound(nameOf(50), ours, "p99Us", { atMost: 100 }, 1, " µs") },
  ],
};
