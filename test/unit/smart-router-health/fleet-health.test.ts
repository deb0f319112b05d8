import { describe, expect, test } from "vitest";
import { seededRng } from "../../../src/platform/rng.js";
import { createSimulatedRouter } from "../../../src/simulate/router-contender.js";
import { createPatient, FleetHealth, type HealthChange, type Patient } from "../../../src/smart-router/health/fleet-health.js";
import { healthDefaults } from "../../../src/smart-router/health/settings.js";
import { plainRequest } from "../../../src/smart-router/request.js";
import { plainTarget } from "../../../src/smart-router/router.js";

const wellMs = 60_000;

/** Three MCPs that are healthy at `wellMs`, and what changed since. */
function createFleet(): {
  readonly health: FleetHealth;
  readonly mcps: readonly [Patient, Patient, Patient];
  readonly changes: HealthChange[];
} {
  const changes: HealthChange[] = [];
  const health = new FleetHealth({ ...healthDefaults, ejectionJitter: 0 }, seededRng(1), (change) => changes.push(change));
  const mcps = [createPatient("a", 0), createPatient("b", 0), createPatient("c", 0)] as const;
  for (const mcp of mcps) health.opened(mcp, 0);
  for (const mcp of mcps) health.tick(mcp, wellMs);
  changes.length = 0;
  return { health, mcps: [...mcps], changes };
}

const error = (startedAtMs: number) => ({ result: "error", isSlow: false, isLate: false, startedAtMs }) as const;
const ok = (startedAtMs: number) => ({ result: "ok", isSlow: false, isLate: false, startedAtMs }) as const;

describe("a row of failures", () => {
  test("is not ended by the success of a request that was sent before it", () => {
    const { health, mcps, changes } = createFleet();
    const [mcp] = mcps;
    for (let sent = 0; sent < 30; sent += 1) health.ended(mcp, ok(wellMs), wellMs + 1);
    for (let at = 100; at < 104; at += 1) health.ended(mcp, error(wellMs + at), wellMs + at);
    health.ended(mcp, ok(wellMs + 50), wellMs + 105);
    health.ended(mcp, error(wellMs + 106), wellMs + 106);
    expect(changes.map(({ mcpId, to }) => [mcpId, to])).toEqual([["a", "ejected"]]);
  });

  test("is ended by the success of a request that was sent after its first failure", () => {
    const { health, mcps, changes } = createFleet();
    const [mcp] = mcps;
    for (let sent = 0; sent < 30; sent += 1) health.ended(mcp, ok(wellMs), wellMs + 1);
    for (let at = 100; at < 104; at += 1) health.ended(mcp, error(wellMs + at), wellMs + at);
    health.ended(mcp, ok(wellMs + 102), wellMs + 105);
    health.ended(mcp, error(wellMs + 106), wellMs + 106);
    expect(changes).toEqual([]);
  });
});

test("an ejection lasts as long again after a failed probe, and longer after a return that failed", () => {
  const { health, mcps } = createFleet();
  const [mcp] = mcps;
  const fail = (nowMs: number): number => {
    for (let sent = 0; sent < 5; sent += 1) health.ended(mcp, error(nowMs), nowMs);
    return mcp.standing.ejectedUntilMs - nowMs;
  };
  expect(fail(wellMs)).toBe(30_000);
  const probedAtMs = wellMs + 30_000;
  health.tick(mcp, probedAtMs);
  health.probeSent(mcp, probedAtMs);
  health.probeEnded(mcp, "error", probedAtMs, probedAtMs);
  expect(mcp.standing.ejectedUntilMs - probedAtMs).toBe(30_000);
  const backAtMs = probedAtMs + 30_000;
  health.tick(mcp, backAtMs);
  for (let probe = 0; probe < 3; probe += 1) {
    health.probeSent(mcp, backAtMs + probe * 1_000);
    health.probeEnded(mcp, "ok", backAtMs + probe * 1_000, backAtMs + probe * 1_000);
  }
  expect(mcp.standing.state).toBe("warming");
  expect(fail(backAtMs + 3_000)).toBe(60_000);
});

test("a probe of an earlier ejection, answered late, is no probe of this one", () => {
  const { health, mcps } = createFleet();
  const [mcp] = mcps;
  for (let sent = 0; sent < 5; sent += 1) health.ended(mcp, error(wellMs), wellMs);
  const firstMs = wellMs + 30_000;
  health.tick(mcp, firstMs);
  health.probeSent(mcp, firstMs);
  health.probeEnded(mcp, "error", firstMs, firstMs + 10);
  const secondMs = mcp.standing.ejectedUntilMs;
  health.tick(mcp, secondMs);
  expect(mcp.standing.state).toBe("probing");
  health.probeSent(mcp, secondMs);
  for (let late = 1; late <= 3; late += 1) health.probeEnded(mcp, "ok", firstMs, secondMs + late);
  expect(mcp.standing.state).toBe("probing");
  expect(health.isProbeDue(mcp, secondMs + 60_000)).toBe(false);
  health.probeEnded(mcp, "ok", secondMs, secondMs + 10);
  expect(health.isProbeDue(mcp, secondMs + 60_000)).toBe(true);
});

test("an MCP that is one failure away from its ejection gets one request at a time", () => {
  const router = createSimulatedRouter({ choices: seededRng(3) });
  for (const mcpId of ["a", "b", "c"]) {
    router.configure({ ...plainTarget(mcpId), maxConcurrent: 100 }, 0);
    router.streamOpened(mcpId, `session of ${mcpId}`, 0);
  }
  let nowMs = wellMs;
  let failed = 0;
  router.tick(nowMs);
  const others = (): ReadonlySet<string> => new Set(["b", "c"]);
  while (failed < 4) {
    nowMs += 1;
    const selection = router.select({ ...plainRequest, exclude: others() }, nowMs);
    if (selection.kind === "refused") throw selection.error;
    router.settle(
      selection.decision.decisionId,
      "a",
      { result: "error", durationMs: 1, quality: undefined, auditedQuality: undefined, cost: undefined, errorCode: "X" },
      nowMs,
    );
    failed += 1;
  }
  expect(router.mcp("a", nowMs)?.capacity).toBe(1);
  const chosen = Array.from({ length: 60 }, () => {
    const selection = router.select(plainRequest, nowMs);
    return selection.kind === "refused" ? "" : selection.decision.chosen;
  });
  expect(chosen.filter((mcpId) => mcpId === "a").length).toBeLessThanOrEqual(1);
  expect(chosen).not.toContain("");
});
