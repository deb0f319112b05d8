import { describe, expect, it } from "vitest";
import { seededRng } from "../../../src/platform/rng.js";
import { policyFactories } from "../../../src/smart-router/policies.js";
import type { Ended, Target } from "../../../src/smart-router/policy.js";
import { plainRequest } from "../../../src/smart-router/request.js";
import { createSignalBook } from "../../../src/smart-router/signals/book.js";
import { ended } from "./baselines/fleet.js";

const targets: readonly Target[] = ["a", "b"].map((mcpId) => ({
  mcpId,
  state: "healthy",
  inFlight: 0,
  capacity: 10,
  slowStart: 1,
  weight: 100,
}));

describe("the policies that may be put in force", () => {
  it.each([...policyFactories])("%s goes by its name, and chooses one of those it is offered", (id, factory) => {
    const policy = factory(createSignalBook());
    expect(policy.id).toBe(id);
    expect(["a", "b"]).toContain(policy.choose(plainRequest, targets, 1_000, seededRng(1)).mcpId);
  });

  it.each([...policyFactories])(
    "%s learns nothing of an MCP from places that were given back unused, whenever that was",
    (_id, factory) => {
      const choicesAfter = (released: readonly Ended[]): readonly string[] => {
        const policy = factory(createSignalBook());
        policy.choose(plainRequest, targets, 0, seededRng(1)); // some learn the capacities here
        for (let nowMs = 0; nowMs <= 30_000; nowMs += 500) {
          for (const mcpId of ["a", "b"]) policy.ended(ended(mcpId, { startedAtMs: nowMs - 100, endedAtMs: nowMs, quality: 0.5 }));
          for (const one of released) policy.ended({ ...one, startedAtMs: nowMs - 30_000, endedAtMs: nowMs });
          policy.tick(nowMs);
        }
        return Array.from({ length: 200 }, (_, at) => {
          const { mcpId } = policy.choose(plainRequest, targets, 30_000, seededRng(at));
          policy.assigned({ decisionId: `later-${at}`, mcpId, request: plainRequest, atMs: 30_000, inFlightBefore: 0 });
          return mcpId;
        });
      };
      expect(choicesAfter([ended("a", { result: "released" })])).toEqual(choicesAfter([]));
    },
  );
});
