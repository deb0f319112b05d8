import { create, type MessageInitShape } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AuditDecisionRequestSchema } from "../../../gen/mcp/coordinator/v1/routing_service_pb.js";
import type { Principal } from "../../../src/auth/principal.js";
import { limits } from "../../../src/platform/limits.js";
import { seededRng } from "../../../src/platform/rng.js";
import { mintUuidV7 } from "../../../src/platform/uuid-v7.js";
import { createAuditHandlers } from "../../../src/rpc/routing-audit.js";
import { createRouter } from "../../../src/smart-router/create-router.js";
import { qualityTailLoadId } from "../../../src/smart-router/decide/quality-tail-load.js";
import { policyFactories } from "../../../src/smart-router/policies.js";
import { plainRequest } from "../../../src/smart-router/request.js";
import { createSignalBook } from "../../../src/smart-router/signals/book.js";

const operator: Principal = { kind: "key", keyId: "k-all", mcpId: "*" };
const anyone: Principal = { kind: "anyone" };

/** The audit over a real router with one MCP; `logged` is what the log was told, `reports` what is known of the MCP's honesty. */
function openDesk() {
  const logged: (readonly [string, string, number, string])[] = [];
  const book = createSignalBook();
  const router = createRouter(
    { book, policies: policyFactories, rng: seededRng(1), wallMs: () => 0, mintDecisionId: mintUuidV7 },
    { maxConcurrentDefault: 10, policyId: qualityTailLoadId, shadowPolicyIds: [] },
  );
  router.streamOpened("a", "session", 0);
  let interactions = 0;
  const handlers = createAuditHandlers({
    router,
    log: { audited: (...told) => void logged.push(told) },
    clock: { monotonicMs: () => 1_000 },
  });
  const audit = (init: MessageInitShape<typeof AuditDecisionRequestSchema>, principal: Principal = operator) =>
    handlers.auditDecision(create(AuditDecisionRequestSchema, init), {
      principal,
      signal: new AbortController().signal,
      requestId: "r",
      timeoutMs: undefined,
    });
  const select = (): string => {
    const selection = router.select(plainRequest, 0);
    if (selection.kind === "refused") throw selection.error;
    return selection.decision.decisionId;
  };
  const start = (routingDecisionId: string): string => {
    interactions += 1;
    const interactionId = `i-${interactions}`;
    const unsaid = { requestType: "", sessionId: "", userPseudonym: "", inputBytes: 0, qualityLevel: "", privacyLevel: "" };
    const facts = { kind: "start", ...unsaid, routingDecisionId } as const;
    router.observe([{ mcpId: "a", interactionId, facts }], 0);
    return interactionId;
  };
  const complete = (interactionId: string, qualityScore: number) => {
    const facts = { kind: "terminal", success: true, durationMs: 100, qualityScore, errorCode: "", adapterUsed: "" } as const;
    router.observe([{ mcpId: "a", interactionId, facts }], 100);
  };
  /** Audits, and audits beside a word of the MCP itself. */
  const counts = () => {
    const [digest] = book.digestOf(["a"], 1_000, 0);
    const [, , , pairs = 0, , audits = 0] = digest?.reports ?? [];
    return { audits: Math.round(audits), pairs: Math.round(pairs) };
  };
  return { router, logged, audit, select, start, complete, counts };
}

describe("the audit of a decision", () => {
  it("is counted once and logged with its auditor; the same again succeeds and changes nothing; another one is refused", async () => {
    const { logged, audit, select, start, complete, counts } = openDesk();
    const decisionId = select();
    complete(start(decisionId), 1);
    expect(await audit({ decisionId, quality: 0.2, auditor: "golden-set" })).toMatchObject({ mcpId: "a", counted: true });
    expect(await audit({ decisionId: decisionId.toUpperCase(), quality: 0.2, auditor: "somebody" })).toMatchObject({ counted: false });
    await expect(audit({ decisionId, quality: 0.9 })).rejects.toMatchObject({
      code: "conflict",
      reason: "DECISION_AUDITED",
      metadata: { decision_id: decisionId, quality: "0.2" },
    });
    expect(logged).toEqual([[decisionId, "a", 0.2, "golden-set"]]);
    expect(counts()).toEqual({ audits: 1, pairs: 1 });
  });

  it("waits for the end of a request that runs, and stands beside what the MCP says then", async () => {
    const { audit, select, start, complete, counts } = openDesk();
    const decisionId = select();
    const interactionId = start(decisionId);
    expect((await audit({ decisionId, quality: 0 })).counted).toBe(true);
    expect(counts()).toEqual({ audits: 0, pairs: 0 });
    complete(interactionId, 1);
    expect(counts()).toEqual({ audits: 1, pairs: 1 });
  });

  it("counts when the lease ran out before an end was heard, and not again with the late end", async () => {
    const { router, audit, select, start, complete, counts } = openDesk();
    const [heard, unheard] = [select(), select()];
    const interactionId = start(heard);
    await audit({ decisionId: heard, quality: 0.5 });
    await audit({ decisionId: unheard, quality: 0.5 });
    router.tick(limits.leaseMaxMs + 1);
    expect(counts().audits).toBe(2);
    complete(interactionId, 1);
    expect(counts().audits).toBe(2);
  });

  it("is not taken of a decision that was given back unused, nor of one that nobody made here", async () => {
    const { router, logged, audit, select } = openDesk();
    const released = select();
    router.release(released, "a", 0);
    for (const decisionId of [released, mintUuidV7()]) {
      await expect(audit({ decisionId, quality: 1 })).rejects.toMatchObject({ code: "not_found", reason: "DECISION_UNKNOWN" });
    }
    expect(logged).toEqual([]);
  });

  it("is refused to a key of one MCP, its own or another's, before anything else is looked at; a server without keys takes it from anyone", async () => {
    const { logged, audit, select, counts } = openDesk();
    const decisionId = select();
    for (const mcpId of ["a", "b"]) {
      for (const init of [{ decisionId, quality: 1 }, {}]) {
        await expect(audit(init, { kind: "key", keyId: "k", mcpId })).rejects.toMatchObject({ code: "forbidden", reason: "OPERATOR_ONLY" });
      }
    }
    expect([logged.length, counts().audits]).toEqual([0, 0]);
    expect((await audit({ decisionId, quality: 1 }, anyone)).counted).toBe(true);
  });

  it("names every field that breaks a rule", async () => {
    const { audit, select } = openDesk();
    const decisionId = select();
    const faults = async (init: MessageInitShape<typeof AuditDecisionRequestSchema>) => {
      const refused = await audit(init).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(refused).toMatchObject({ code: "invalid", reason: "FIELD_VIOLATION" });
      return (refused as { fields: { field: string; reason: string }[] }).fields.map(({ field, reason }) => `${field} ${reason}`);
    };
    expect(await faults({})).toEqual(["decision_id REQUIRED", "quality REQUIRED"]);
    expect(await faults({ decisionId: "d-1", quality: 0.5 })).toEqual(["decision_id MALFORMED"]);
    expect(await faults({ decisionId, quality: 0.5, auditor: "x".repeat(limits.idMaxBytes + 1) })).toEqual(["auditor TOO_LONG"]);
    expect(await faults({ decisionId, quality: 0.5, auditor: "a\0b" })).toEqual(["auditor UNSUPPORTED_CHARACTER"]);
    await fc.assert(
      fc.asyncProperty(
        fc.double().filter((quality) => !(quality >= 0 && quality <= 1)),
        async (quality) => {
          expect(await faults({ decisionId, quality })).toEqual(["quality OUT_OF_RANGE"]);
        },
      ),
    );
    expect((await audit({ decisionId, quality: 1 })).counted).toBe(true);
  });

  it("weighs once, whoever audits how often with what: the first quality is the one that counts", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 6 }),
        fc.nat(6),
        async (all, endsAfter) => {
          const { logged, audit, select, start, complete, counts } = openDesk();
          const decisionId = select();
          const interactionId = start(decisionId);
          for (const [index, quality] of all.entries()) {
            if (index === endsAfter) complete(interactionId, 1);
            const told = audit({ decisionId, quality });
            if (quality === all[0]) expect((await told).counted).toBe(index === 0);
            else await expect(told).rejects.toMatchObject({ reason: "DECISION_AUDITED" });
          }
          complete(interactionId, 1);
          expect(logged.map(([, , quality]) => quality)).toEqual([all[0]]);
          expect(counts()).toEqual({ audits: 1, pairs: 1 });
        },
      ),
    );
  });
});
