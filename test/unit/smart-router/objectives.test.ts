import { expect, test } from "vitest";
import { seededRng } from "../../../src/platform/rng.js";
import { createSimulatedRouter } from "../../../src/simulate/router-contender.js";
import { plainRequest, type RouteRequest } from "../../../src/smart-router/request.js";

const latencyMs: Readonly<Record<string, number>> = { a: 100, b: 100, c: 160 };

/** State of `c`, which takes 160 ms where `a` and `b` take 100, after ninety answers of each. */
function stateOfSlowest(objectiveMs: number | undefined, more: Partial<RouteRequest> = {}): string | undefined {
  const objectives = new Map(objectiveMs === undefined ? [] : [["ocr", objectiveMs]]);
  const router = createSimulatedRouter({ choices: seededRng(7) }, { signals: { objectiveMs: objectives } });
  const ids = Object.keys(latencyMs);
  for (const mcpId of ids) router.streamOpened(mcpId, `session of ${mcpId}`, 0);
  let nowMs = 0;
  for (let round = 0; round < 90; round += 1) {
    for (const mcpId of ids) {
      const exclude = new Set(ids.filter((other) => other !== mcpId));
      const selection = router.select({ ...plainRequest, requestType: "ocr", ...more, exclude }, nowMs);
      if (selection.kind === "refused") throw new Error(`${mcpId} refused`);
      nowMs += latencyMs[mcpId] ?? 0;
      const report = {
        result: "ok",
        durationMs: latencyMs[mcpId],
        quality: undefined,
        auditedQuality: undefined,
        cost: undefined,
      } as const;
      router.settle(selection.decision.decisionId, mcpId, { ...report, errorCode: "" }, nowMs);
    }
    nowMs += 300;
    router.tick(nowMs);
  }
  return router.mcp("c", nowMs)?.state;
}

test("an MCP that is late by the objective as a rule is degraded, although it takes less than two medians", () => {
  expect(stateOfSlowest(130)).toBe("degraded");
});

test.each([
  ["no objective", undefined],
  ["one that it meets", 200],
] as const)("with %s it is healthy", (_, objectiveMs) => {
  expect(stateOfSlowest(objectiveMs)).toBe("healthy");
});

test("a deadline that requests name outranks the objective, to either side", () => {
  expect(stateOfSlowest(130, { deadlineMs: 200 })).toBe("healthy");
  expect(stateOfSlowest(200, { deadlineMs: 130 })).toBe("degraded");
});
