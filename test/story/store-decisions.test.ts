import postgres from "postgres";
import { describe, expect } from "vitest";
import { mintUuidV7, uuidFloor, uuidV7TimeMs } from "../../src/platform/uuid-v7.js";
import { nothingKnown } from "../../src/smart-router/log/outcome-row.js";
import type { StoredDecision, StoredOutcome } from "../../src/store/decision-row.js";
import { partitionName } from "../../src/store/partitions.js";
import { freshName, newEvent } from "../support/new-event.js";
import { storeKinds } from "../support/open-store.js";
import { tellStories } from "../support/store-stories.js";

const dayMs = 86_400_000;

function decisionOf(more: Partial<StoredDecision> = {}): StoredDecision {
  const decisionId = more.decisionId ?? mintUuidV7();
  return {
    decisionId,
    decidedAtMs: uuidV7TimeMs(decisionId),
    coordinatorId: "coordinator-of-test",
    keyId: "",
    configVersion: 3,
    weightsTerm: 1,
    weightsVersion: 7,
    policyId: "policy-of-test/1",
    policyHash: "00112233aabbccdd",
    requestClass: "ocr/7",
    features: { request: { requestType: "ocr" } },
    chosen: "ocr_001",
    propensity: 1 / 3,
    tierShare: 1,
    keptShare: 0.1,
    epsilon: 0.01,
    regime: "normal",
    isExploration: false,
    seed: Number.MAX_SAFE_INTEGER,
    isOpeEligible: true,
    leaseMs: 30_000,
    candidates: undefined,
    shadow: [],
    ...more,
  };
}

function outcomeOf(decisionId: string, more: Partial<StoredOutcome> = {}): StoredOutcome {
  return { decisionId, mcpId: "ocr_001", ...nothingKnown, ...more };
}

describe.each(storeKinds)("the decision log of the $kind store", (each) => {
  const at = tellStories(each);
  const read = async (id: string) => (await at.store.readDecision(id))?.outcome;

  at.story("gives every double back bit for bit, NaN among them, and keeps the first of two rows with one id", async () => {
    const awkward = [1 / 3, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, Number.NaN, 1e-7];
    const decisions = awkward.map((propensity) =>
      decisionOf({ propensity, candidates: [{ score: Number.isNaN(propensity) ? 0 : -propensity }], seed: 2 ** 53 - 1 }),
    );
    await at.store.recordDecisions(decisions);
    await at.store.recordDecisions(decisions.map((decision) => ({ ...decision, chosen: "another" })));
    for (const decision of decisions) expect((await at.store.readDecision(decision.decisionId))?.decision).toEqual(decision);
  });

  at.story("adds up what is told of an end: start first or last, and an end that was heard outranks a lease that ran out", async () => {
    const [orderly, late] = [decisionOf(), decisionOf()];
    await at.store.recordOutcomes([outcomeOf(orderly.decisionId, { state: "complete", observedMs: 12.5, quality: 0.75 })]);
    await at.store.recordDecisions([orderly, late]);
    await at.store.recordOutcomes([
      outcomeOf(orderly.decisionId, { interactionId: "i-1" }),
      outcomeOf(late.decisionId, { state: "censored", censoredBecause: "expired", observedMs: 30_000 }),
    ]);
    await at.store.recordOutcomes([outcomeOf(late.decisionId, { state: "error", isLate: true, observedMs: 40_000, errorCode: "E1" })]);
    await at.store.recordOutcomes([outcomeOf(late.decisionId, { state: "censored", censoredBecause: "expired" })]);
    expect(await read(orderly.decisionId)).toMatchObject({ state: "complete", interactionId: "i-1", observedMs: 12.5, quality: 0.75 });
    expect(await read(late.decisionId)).toMatchObject({
      state: "error",
      censoredBecause: "",
      isLate: true,
      observedMs: 40_000,
      errorCode: "E1",
    });
  });

  at.story("keeps the first audit of a decision with its auditor, whatever else is told, and none where there was none", async () => {
    const [audited, plain] = [decisionOf(), decisionOf()];
    await at.store.recordDecisions([audited, plain]);
    await at.store.recordOutcomes([
      outcomeOf(audited.decisionId, { auditedQuality: 0, auditor: "panel" }),
      outcomeOf(plain.decisionId, { state: "complete", quality: 1 }),
    ]);
    await at.store.recordOutcomes([outcomeOf(audited.decisionId, { auditedQuality: 0.9, auditor: "somebody" })]);
    await at.store.recordOutcomes([outcomeOf(audited.decisionId, { state: "complete", quality: 1 })]);
    expect(await read(audited.decisionId)).toMatchObject({ state: "complete", quality: 1, auditedQuality: 0, auditor: "panel" });
    expect(await read(plain.decisionId)).toMatchObject({ auditedQuality: undefined, auditor: "" });
  });

  at.story(
    "takes the end from the interaction where nobody wrote the end of the decision, and never from an MCP that was not chosen",
    async () => {
      const [mcpId, decision, foreign] = [freshName("mcp"), decisionOf(), decisionOf()];
      await at.store.recordDecisions([{ ...decision, chosen: mcpId }, foreign]);
      await at.store.append(0, [newEvent({ mcpId, interactionId: "i-7", kind: "complete" })]);
      const start = { mcpId, interactionId: "i-7" };
      await at.store.recordOutcomes([outcomeOf(decision.decisionId, start), outcomeOf(foreign.decisionId, start)]);
      expect(await read(decision.decisionId)).toMatchObject({ state: "complete", interactionId: "i-7" });
      expect(await read(foreign.decisionId)).toBeUndefined();
    },
  );

  at.story("lists a range of times oldest first, each decision once, with the filters that are asked for", async () => {
    const policyId = freshName("policy");
    const ids = Array.from({ length: 25 }, () => mintUuidV7()).sort();
    await at.store.recordDecisions(
      ids.map((decisionId, index) => decisionOf({ decisionId, policyId, candidates: index % 5 === 0 ? [{ score: index }] : undefined })),
    );
    const [first = "", last = ""] = [ids[0], ids.at(-1)];
    const all = { startMs: uuidV7TimeMs(first), endMs: uuidV7TimeMs(last) + 1, policyId, chosen: undefined, hasCandidates: false };
    const seen: string[] = [];
    for (let after: string | undefined; ; after = seen.at(-1)) {
      const page = await at.store.listDecisions(all, 7, after);
      seen.push(...page.map(({ decision }) => decision.decisionId));
      if (page.length < 7) break;
    }
    expect(seen).toEqual(ids);
    expect((await at.store.listDecisions({ ...all, hasCandidates: true }, 100, undefined)).length).toBe(5);
    expect(await at.store.listDecisions({ ...all, chosen: "nobody" }, 100, undefined)).toEqual([]);
    expect(await at.store.listDecisions({ ...all, endMs: all.startMs }, 100, undefined)).toEqual([]);
  });

  at.story("takes a decision of a day without a partition, unless that day was thrown away or is that of a wrong clock", async () => {
    const decisionAt = (atMs: number) => decisionOf({ decisionId: uuidFloor(atMs).replace("-0000-0000-", "-7000-8000-") });
    const decision = decisionAt(Date.now() + 20 * dayMs);
    for (const wrongDays of [-400, 400]) {
      await expect(at.store.recordDecisions([decisionAt(Date.now() + wrongDays * dayMs)])).rejects.toMatchObject({ kind: "poison" });
    }
    await at.store.recordDecisions([decision]);
    const { partitionsCreated } = await at.store.maintain(Date.now() + 14 * dayMs);
    expect(partitionsCreated).not.toContain(partitionName(Math.floor(decision.decidedAtMs / dayMs), "route_decision"));
    expect((await at.store.readDecision(decision.decisionId))?.decision).toEqual(decision);
    const laterMs = Date.now() + 60 * dayMs;
    const { partitionsDropped } = await at.store.maintain(laterMs, laterMs);
    expect(partitionsDropped).toContain(partitionName(Math.floor(decision.decidedAtMs / dayMs), "route_decision"));
    expect(await at.store.readDecision(decision.decisionId)).toBeUndefined();
  });

  at.story("stores a change of the configuration only on the version it was made for, and what changed with it", async () => {
    const before = await at.store.readRoutingConfig();
    expect(before).toEqual({ version: 0, document: {}, changedAtMs: undefined, changedBy: "" });
    const changes = [{ setting: "policy_id", oldValue: "", newValue: '"p/1"' }];
    const write = { ifVersion: 0, document: { policyId: "p/1" }, changedBy: "ops", coordinatorId: "c", reason: "trial", changes };
    const both = await Promise.all([at.store.writeRoutingConfig(write), at.store.writeRoutingConfig(write)]);
    expect(both.filter((stored) => stored !== undefined)).toEqual([
      { version: 1, document: { policyId: "p/1" }, changedAtMs: expect.any(Number), changedBy: "ops" },
    ]);
    expect(await at.store.readRoutingConfig()).toEqual(both.find((stored) => stored !== undefined));
    expect(await at.store.listRoutingChanges(10)).toEqual([
      { version: 1, changedAtMs: expect.any(Number), changedBy: "ops", coordinatorId: "c", reason: "trial", changes },
    ]);
  });

  // The embedded store has no port of its own to try it through.
  if (each.kind === "postgres")
    at.story("lets nobody rewrite the audit", async () => {
      const sql = postgres(at.home.postgres?.url ?? "", { max: 1, onnotice: () => {} });
      for (const statement of [
        "UPDATE routing_config_audit SET reason = ''",
        "DELETE FROM routing_config_audit",
        "TRUNCATE routing_config_audit",
      ]) {
        await expect(sql.unsafe(statement)).rejects.toThrow(/only ever appended to/);
      }
      await sql.end();
    });
});
