import { describe, expect, it } from "vitest";
import { seededRng } from "../../../src/platform/rng.js";
import { policyFactories } from "../../../src/smart-router/policies.js";
import type { Target } from "../../../src/smart-router/policy.js";
import { plainRequest } from "../../../src/smart-router/request.js";
import { createSignalBook } from "../../../src/smart-router/signals/book.js";

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
});
