import { describe, expect, test } from "vitest";
import { seededRng } from "../../../src/platform/rng.js";
import { createSimulatedRouter } from "../../../src/simulate/router-contender.js";
import { healthDefaults } from "../../../src/smart-router/health/settings.js";
import { plainRequest } from "../../../src/smart-router/request.js";
import { plainTarget, type ReportedStrain, type Router } from "../../../src/smart-router/router.js";

const warmMs = 60_000;
const { unansweredTablesMax, jitterBegin, jitterEnd } = healthDefaults;

/** Two MCPs that are warm: "a" with two sessions, and "b". */
function warmRouter(): Router {
  const router = createSimulatedRouter({ choices: seededRng(5) });
  for (const [mcpId, session] of [
    ["a", "a1"],
    ["a", "a2"],
    ["b", "b1"],
  ] as const) {
    router.configure(plainTarget(mcpId), 0);
    router.streamOpened(mcpId, session, 0);
  }
  router.tick(warmMs);
  return router;
}

function report(router: Router, sessions: readonly string[], strain: Partial<ReportedStrain>, nowMs = warmMs): void {
  for (const session of sessions) router.reportStrain("a", session, { unansweredTables: 0, heartbeatJitter: 0, ...strain }, nowMs);
}

const seen = (router: Router, nowMs = warmMs) => {
  const mcp = router.mcp("a", nowMs);
  return [mcp?.state, mcp?.isSuspect];
};

describe("an MCP that leaves routing tables unanswered", () => {
  test("is degraded after the first on every session, suspect after the third, and well with an answer on one of them", () => {
    const router = warmRouter();
    report(router, ["a1"], { unansweredTables: unansweredTablesMax });
    expect(seen(router)).toEqual(["healthy", false]);
    report(router, ["a2"], { unansweredTables: 1 });
    expect(seen(router)).toEqual(["degraded", false]);
    expect(router.mcp("a", warmMs)?.stateReason).toBe("1 routing tables in a row without an answer");
    report(router, ["a2"], { unansweredTables: unansweredTablesMax });
    expect(seen(router)).toEqual(["degraded", true]);
    report(router, ["a1"], {});
    expect(seen(router)).toEqual(["healthy", false]);
  });

  test("gets nothing while it is suspect and there is an alternative, and everything when there is none", () => {
    const router = warmRouter();
    report(router, ["a1", "a2"], { unansweredTables: unansweredTablesMax });
    const chosen = (exclude: readonly string[]) =>
      Array.from({ length: 30 }, () => {
        const selection = router.select({ ...plainRequest, exclude: new Set(exclude) }, warmMs);
        if (selection.kind === "refused") return "";
        router.release(selection.decision.decisionId, selection.decision.chosen, warmMs);
        return selection.decision.chosen;
      });
    expect(new Set(chosen([]))).toEqual(new Set(["b"]));
    expect(new Set(chosen(["b"]))).toEqual(new Set(["a"]));
  });

  test("starts anew with a new session", () => {
    const router = warmRouter();
    report(router, ["a1", "a2"], { unansweredTables: unansweredTablesMax });
    router.streamOpened("a", "a3", warmMs);
    expect(seen(router)).toEqual(["healthy", false]);
    router.streamClosed("a", "a3", "orderly", warmMs);
    expect(seen(router)).toEqual(["degraded", true]);
  });

  test("is judged when its slow start is over, not before", () => {
    const router = createSimulatedRouter({ choices: seededRng(5) });
    router.streamOpened("a", "a1", 0);
    report(router, ["a1"], { unansweredTables: 1 }, 1_000);
    expect(seen(router, 1_000)).toEqual(["warming", false]);
    router.tick(warmMs);
    router.tick(warmMs + 1_000);
    expect(seen(router, warmMs + 1_000)).toEqual(["degraded", false]);
  });
});

test("an MCP is degraded when its heartbeats are far off on every session, until they are near again, and never suspect for it", () => {
  const router = warmRouter();
  report(router, ["a1", "a2"], { heartbeatJitter: jitterBegin });
  expect(seen(router)).toEqual(["healthy", false]);
  report(router, ["a1", "a2"], { heartbeatJitter: jitterBegin + 0.05 });
  expect(seen(router)).toEqual(["degraded", false]);
  report(router, ["a1", "a2"], { heartbeatJitter: jitterEnd });
  router.tick(warmMs + 1_000);
  expect(seen(router, warmMs + 1_000)).toEqual(["degraded", false]);
  report(router, ["a1"], { heartbeatJitter: jitterEnd - 0.05 });
  expect(seen(router)).toEqual(["healthy", false]);
});
