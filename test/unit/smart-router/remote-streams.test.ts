import { describe, expect, it } from "vitest";
import { limits } from "../../../src/platform/limits.js";
import { seededRng } from "../../../src/platform/rng.js";
import { createProcess, createSimulatedRouter } from "../../../src/simulate/router-contender.js";
import type { RemoteMcp } from "../../../src/smart-router/peers.js";
import { RemoteStreams, settleForeign } from "../../../src/smart-router/remote-streams.js";
import { plainRequest } from "../../../src/smart-router/request.js";
import { type LearntAudit, plainTarget } from "../../../src/smart-router/router.js";

const well = { inFlight: 0, health: "well", isSuspect: false, coordinatorId: "a", ageMs: 0 } as const;
const at = (mcpId: string, more: Partial<RemoteMcp> = {}): RemoteMcp => ({ mcpId, ...well, ...more });

/** A coordinator without MCPs of its own. */
function setUp() {
  const router = createSimulatedRouter({ choices: seededRng(7) });
  const streams = new RemoteStreams(router);
  const chosenAt = (nowMs: number): ReadonlySet<string> =>
    new Set(
      Array.from({ length: 60 }, () => {
        const selection = router.select(plainRequest, nowMs);
        if (selection.kind === "refused") return "";
        const { decisionId, chosen } = selection.decision;
        router.release(decisionId, chosen, nowMs);
        return chosen;
      }),
    );
  return { router, streams, chosenAt };
}

describe("MCPs whose streams other coordinators hold", () => {
  it("are chosen but for those that their coordinators have ejected, and these again when they are well there", () => {
    const { router, streams, chosenAt } = setUp();
    const fleet = (health: RemoteMcp["health"]) => [at("m1"), at("m2", { health }), at("m3", { coordinatorId: "b" })];
    streams.become(fleet("well"), 0);
    expect(chosenAt(0)).toEqual(new Set(["m1", "m2", "m3"]));
    streams.become(fleet("shut_out"), 1_000);
    expect(chosenAt(1_000)).toEqual(new Set(["m1", "m3"]));
    expect(router.mcp("m2", 1_000)).toMatchObject({ state: "ejected", ejectedUntilMs: 1_000 + limits.routerDigestMaxAgeMs });
    streams.become(fleet("well"), 2_000);
    expect(chosenAt(2_000)).toEqual(new Set(["m1", "m2", "m3"]));
  });

  it("have their whole share at a coordinator that begins as soon as they have it at their own", () => {
    const { router, streams } = setUp();
    streams.become([at("m1"), at("m2", { health: "starting" }), at("m3", { health: "degraded" })], 0);
    expect(router.mcps(0).map(({ state, slowStart }) => [state, slowStart])).toEqual([
      ["healthy", 1],
      ["warming", 0.1],
      ["degraded", 1],
    ]);
    streams.become([at("m1"), at("m2"), at("m3")], 1_000);
    expect(router.mcps(1_000).map(({ state, slowStart }) => [state, slowStart])).toEqual(Array.from({ length: 3 }, () => ["healthy", 1]));
  });

  it("get nothing while they are suspect there, or their coordinator is silent, and there is an alternative", () => {
    const { streams, chosenAt } = setUp();
    streams.become([at("m1"), at("m2", { isSuspect: true })], 0);
    expect(chosenAt(0)).toEqual(new Set(["m1"]));
    streams.become([at("m1", { ageMs: limits.routerDigestSuspectMs + 1 }), at("m2", { coordinatorId: "b" })], 4_000);
    expect(chosenAt(4_000)).toEqual(new Set(["m2"]));
  });

  it("keep a stream while they move, and lose it with the coordinator that fell silent", () => {
    const { router, streams } = setUp();
    const states: string[] = [];
    router.onHealth(({ to }) => states.push(to));
    streams.become([at("m1")], 0);
    streams.become([at("m1", { coordinatorId: "b" })], 1_000);
    expect(router.mcp("m1", 1_000)).toMatchObject({ openStreams: 1, state: "healthy" });
    expect(states).toEqual(["warming", "healthy"]);
    streams.become([at("m1", { coordinatorId: "b", ageMs: 9_000 })], 10_000);
    streams.become([], 11_000);
    expect(router.mcp("m1", 11_000)).toMatchObject({ openStreams: 0, state: "disconnected", expectedAs: undefined });
    expect(streams.mcpIds()).toEqual([]);
  });

  it("free the places that decisions of this coordinator took, once, when the end is told of", () => {
    const { router, streams } = setUp();
    streams.become([at("m1")], 0);
    const selection = router.select(plainRequest, 0);
    const decisionId = selection.kind === "decided" ? selection.decision.decisionId : "";
    const ends = [{ decisionId, mcpId: "m1", success: true, durationMs: 20, errorCode: "" }];
    expect(router.figures().openLeases).toBe(1);
    settleForeign(router, [...ends, { ...ends[0], decisionId: "of another", mcpId: "m1", success: true, errorCode: "" }], 20, 20);
    settleForeign(router, ends, 40, 40);
    expect(router.figures()).toMatchObject({ openLeases: 0, lateEnds: 0 });
  });

  it("are judged by when their requests ended, and not by when that was heard here", () => {
    const { router, streams } = setUp();
    const observed: number[] = [];
    const states: string[] = [];
    router.onOutcome(({ observedMs }) => observed.push(observedMs));
    router.onHealth(({ mcpId, to }) => states.push(`${mcpId} ${to}`));
    for (let round = 0; round < 30; round += 1) {
      const wordAtMs = round * 2_000;
      streams.become([at("m1", { ageMs: 1_000 }), at("m2", { ageMs: 1_000 })], wordAtMs + 1_000);
      router.tick(wordAtMs + 1_000);
      const made = Array.from({ length: 4 }, () => router.select(plainRequest, wordAtMs + 1_100));
      const ends = made.flatMap((one) =>
        one.kind === "decided"
          ? [{ decisionId: one.decision.decisionId, mcpId: one.decision.chosen, success: true, durationMs: 60, errorCode: "", agoMs: 840 }]
          : [],
      );
      // It ended 60 ms after its decision; the word is of 840 ms later, and a second old when it is read.
      settleForeign(router, ends, wordAtMs + 2_000, wordAtMs + 3_000);
    }
    expect(observed).toHaveLength(120);
    expect(new Set(observed)).toEqual(new Set([60]));
    expect(states).not.toContain("m1 degraded");
    expect(router.mcps(60_000).map(({ state }) => state)).toEqual(["healthy", "healthy"]);
  });

  it("are judged where their streams are when decisions of this coordinator are audited, beside what they said there of themselves", () => {
    const here = createProcess({ choices: seededRng(7) }, {}, { aheadMs: 0, drift: 0 }, "here");
    const there = createProcess({ choices: seededRng(8) }, {}, { aheadMs: 0, drift: 0 }, "there");
    const told: LearntAudit[] = [];
    here.router.onForeignAudit((audit) => told.push(audit));
    new RemoteStreams(here.router).become([at("m1")], 0);
    there.router.streamOpened("m1", "session", 0);
    /** Self-reports, audits beside one, and audits. */
    const counts = ({ book }: typeof here) =>
      book
        .digestOf(["m1"], 100, 0)[0]
        ?.reports.filter((_, index) => [0, 3, 5].includes(index))
        .map(Math.round);
    const decide = (): string => {
      const selection = here.router.select(plainRequest, 0);
      return selection.kind === "decided" ? selection.decision.decisionId : "";
    };
    const unsaid = { requestType: "", sessionId: "", userPseudonym: "", inputBytes: 0, qualityLevel: "", privacyLevel: "" };
    const start = (interactionId: string, routingDecisionId: string) =>
      there.router.observe([{ mcpId: "m1", interactionId, facts: { kind: "start", routingDecisionId, ...unsaid } }], 0);
    const complete = (interactionId: string) => {
      const facts = { kind: "terminal", success: true, durationMs: 20, qualityScore: 1, errorCode: "", adapterUsed: "" } as const;
      there.router.observe([{ mcpId: "m1", interactionId, facts }], 20);
    };
    const endHere = (decisionId: string) =>
      settleForeign(here.router, [{ decisionId, mcpId: "m1", success: true, durationMs: 20, quality: 1, errorCode: "", agoMs: 0 }], 20, 20);

    // Audited after its end, and before: handed over when the end is known, and only once.
    const [after, before, unseen] = [decide(), decide(), decide()];
    start("i1", after);
    start("i2", before);
    expect(here.router.audit(before, 0.5, 10)).toMatchObject({ isFirst: true });
    expect(told).toEqual([]);
    complete("i1");
    endHere(after);
    endHere(before);
    endHere(unseen);
    for (const decisionId of [after, unseen]) expect(here.router.audit(decisionId, 0.5, 30)).toMatchObject({ isFirst: true });
    expect(told.map(({ decisionId, quality, atMs }) => [decisionId, quality, atMs])).toEqual([
      [before, 0.5, 20],
      [after, 0.5, 30],
      [unseen, 0.5, 30],
    ]);
    expect(counts(here)).toEqual([3, 0, 0]);

    // Where it is served: one that runs waits for its end; one of which nothing is known there counts by itself.
    expect(told.map((audit) => there.router.learnAudit(audit))).toEqual([false, true, true]);
    expect(counts(there)).toEqual([1, 1, 2]);
    complete("i2");
    expect(told.slice(0, 2).map((audit) => there.router.learnAudit(audit))).toEqual([true, true]);
    expect(counts(there)).toEqual([2, 2, 3]);
  });

  it("have places for as many as they answer, although their ends are heard a second and a half later", () => {
    const { router, streams } = setUp();
    router.configure({ ...plainTarget("m1"), maxConcurrent: 10 }, 0);
    const sent: { readonly decisionId: string; readonly endedAtMs: number }[] = [];
    let refused = 0;
    let toldUpTo = 0;
    for (let nowMs = 0; nowMs < 60_000; nowMs += 20) {
      if (nowMs % 1_000 === 0) {
        const wordAtMs = nowMs - 1_000;
        const known = sent.filter(({ endedAtMs }) => endedAtMs <= wordAtMs);
        const ends = known.slice(toldUpTo).map(({ decisionId, endedAtMs }) => ({
          ...{ decisionId, mcpId: "m1", success: true, durationMs: 50, errorCode: "" },
          agoMs: wordAtMs - endedAtMs,
        }));
        toldUpTo = known.length;
        settleForeign(router, ends, wordAtMs, nowMs);
        streams.become([at("m1", { ageMs: 1_000, inFlight: nowMs > 2_000 ? 2 : 0 })], nowMs);
        router.tick(nowMs);
      }
      const selection = router.select(plainRequest, nowMs);
      if (selection.kind === "decided") sent.push({ decisionId: selection.decision.decisionId, endedAtMs: nowMs + 50 });
      else if (nowMs > 30_000) refused += 1;
    }
    // 50 a second that take 50 ms are 2.5 at once; of the last one and a half seconds, 75 are not known to be over.
    expect(refused).toBe(0);
  });
});
