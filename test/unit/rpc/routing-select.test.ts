import { create } from "@bufbuild/protobuf";
import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { ReleaseDecisionRequestSchema, SelectMcpRequestSchema } from "../../../gen/mcp/coordinator/v1/routing_service_pb.js";
import type { Principal } from "../../../src/auth/principal.js";
import { seededRng } from "../../../src/platform/rng.js";
import { mintUuidV7 } from "../../../src/platform/uuid-v7.js";
import { createSelectHandlers } from "../../../src/rpc/routing-select.js";
import { createRouter } from "../../../src/smart-router/create-router.js";
import { qualityTailLoadId } from "../../../src/smart-router/decide/quality-tail-load.js";
import { createDecisionLog } from "../../../src/smart-router/log/decision-log.js";
import { createMadeDecisions } from "../../../src/smart-router/log/made-decisions.js";
import type { OutcomeRow } from "../../../src/smart-router/log/outcome-row.js";
import { createShadowTally } from "../../../src/smart-router/log/shadow-tally.js";
import { policyFactories } from "../../../src/smart-router/policies.js";
import { createSignalBook } from "../../../src/smart-router/signals/book.js";
import { ManualClock } from "../../support/manual-clock.js";

/** The decision plane over a real router, with one MCP; `outcomes` is what its log stored. */
function openDesk() {
  const clock = new ManualClock(1_780_000_000_000);
  const outcomes: OutcomeRow[] = [];
  const router = createRouter(
    { book: createSignalBook(), policies: policyFactories, rng: seededRng(1), wallMs: clock.nowMs, mintDecisionId: mintUuidV7 },
    { maxConcurrentDefault: 10, policyId: qualityTailLoadId, shadowPolicyIds: [] },
  );
  router.streamOpened("a", "session", clock.monotonicMs());
  const log = createDecisionLog({
    recordDecisions: async () => {},
    recordOutcomes: async (rows) => void outcomes.push(...rows),
    isHopeless: () => false,
    clock,
    log: pino({ level: "silent" }),
  });
  router.onOutcome(log.ended);
  const context = () => ({ coordinatorId: "c", configVersion: 0, weightsTerm: 0, weightsVersion: 0 });
  const handlers = createSelectHandlers({ router, made: createMadeDecisions(), log, tally: createShadowTally(), context, clock });
  const call = (principal: Principal) => ({ principal, signal: new AbortController().signal, requestId: "r", timeoutMs: undefined });
  const select = (principal: Principal = anyone) => handlers.selectMcp(create(SelectMcpRequestSchema), call(principal));
  const release = (decisionId: string, principal: Principal = anyone) =>
    handlers.releaseDecision(create(ReleaseDecisionRequestSchema, { decisionId }), call(principal));
  return { clock, router, log, outcomes, select, release };
}

const anyone: Principal = { kind: "anyone" };
const keyFor = (keyId: string, mcpId: string): Principal => ({ kind: "key", keyId, mcpId });

describe("a decision that was made", () => {
  it("frees its place and is logged as expired when its lease runs out, and can no longer be given back", async () => {
    const { clock, router, log, outcomes, select, release } = openDesk();
    const { decisionId, lease } = await select();
    expect(router.mcp("a", clock.monotonicMs())?.inFlight).toBe(1);
    await clock.advance(Number(lease?.seconds) * 1_000 + 1_000);
    router.tick(clock.monotonicMs());
    expect(router.mcp("a", clock.monotonicMs())?.inFlight).toBe(0);
    expect((await release(decisionId)).released).toBe(false);
    await log.flush();
    expect(outcomes).toEqual([expect.objectContaining({ decisionId, mcpId: "a", state: "censored", censoredBecause: "expired" })]);
  });

  it("is released by the key that made it, by a key of its MCP and by a key for all, and by nobody else", async () => {
    const { select, release } = openDesk();
    const [maker, ofMcp, forAll, other] = [keyFor("k-1", "x"), keyFor("k-2", "a"), keyFor("k-3", "*"), keyFor("k-4", "x")];
    for (const who of [maker, ofMcp, forAll]) {
      const { decisionId } = await select(maker);
      await expect(release(decisionId, other)).rejects.toMatchObject({ code: "forbidden", reason: "DECISION_FOREIGN" });
      expect((await release(decisionId, who)).released).toBe(true);
    }
  });
});
