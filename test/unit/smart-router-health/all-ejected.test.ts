import { expect, test } from "vitest";
import { limits } from "../../../src/platform/limits.js";
import { seededRng } from "../../../src/platform/rng.js";
import { createRouter } from "../../../src/smart-router/create-router.js";
import { createQualityTailLoad, qualityTailLoadId } from "../../../src/smart-router/decide/quality-tail-load.js";
import { plainRequest } from "../../../src/smart-router/request.js";
import { plainTarget, type Router } from "../../../src/smart-router/router.js";
import { createSignalBook } from "../../../src/smart-router/signals/book.js";

const names = ["failing", "well", "also-well"];

function fleet(): Router {
  let minted = 0;
  const router = createRouter(
    {
      book: createSignalBook(),
      policies: new Map([[qualityTailLoadId, (book) => createQualityTailLoad(book)]]),
      ...{ rng: seededRng(1), wallMs: () => 0, mintDecisionId: () => `decision-${minted++}` },
    },
    { maxConcurrentDefault: 10, policyId: qualityTailLoadId, shadowPolicyIds: [] },
  );
  for (const mcpId of names) {
    router.configure(plainTarget(mcpId), 0);
    router.streamOpened(mcpId, `${mcpId}-session`, 0);
  }
  return router;
}

const unanswered = { durationMs: 20, quality: undefined, auditedQuality: undefined, cost: undefined, errorCode: "BROKEN" };

test("when nobody but an ejected MCP is left it is chosen all the same, in a panic; when it has gone too, the refusal says when to ask again", () => {
  const router = fleet();
  const onlyFailing = { ...plainRequest, exclude: new Set(["well", "also-well"]) };
  router.tick(59_999);
  for (let nowMs = 60_000; nowMs < 60_005; nowMs += 1) {
    const selection = router.select(onlyFailing, nowMs);
    if (selection.kind === "refused") throw selection.error;
    router.settle(selection.decision.decisionId, "failing", { ...unanswered, result: "error" }, nowMs);
  }
  const stateOf = (mcpId: string) => router.mcps(60_010).find((mcp) => mcp.mcpId === mcpId)?.state;
  expect(names.map(stateOf)).toEqual(["ejected", "healthy", "healthy"]);
  const beside = Array.from({ length: 20 }, (_, at) => router.select(plainRequest, 60_010 + at));
  expect(beside.flatMap((one) => (one.kind === "refused" ? [] : [one.decision.chosen]))).not.toContain("failing");

  for (const mcpId of ["well", "also-well"]) router.streamClosed(mcpId, `${mcpId}-session`, "lost", 60_100);
  const alone = router.select(plainRequest, 60_200);
  if (alone.kind === "refused") throw alone.error;
  expect(alone.decision).toMatchObject({ chosen: "failing", regime: "panic", propensity: 1 });

  router.streamClosed("failing", "failing-session", "lost", 60_300);
  const nobody = router.select(plainRequest, 60_400);
  if (nobody.kind !== "refused") throw new Error("somebody was chosen");
  expect(nobody.error).toMatchObject({ code: "unavailable", reason: "NO_ELIGIBLE_MCP" });
  expect(nobody.error.retryAfterMs).toBeGreaterThan(0);
  expect(nobody.error.retryAfterMs).toBeLessThanOrEqual(limits.selectRetryMaxMs);
});
