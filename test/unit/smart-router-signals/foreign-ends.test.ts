import { expect, test } from "vitest";
import type { Facts } from "../../../src/interaction/event.js";
import { ForeignEnds } from "../../../src/smart-router/foreign-ends.js";

const start = (routingDecisionId: string): Facts => ({
  kind: "start",
  requestType: "ocr",
  sessionId: "",
  userPseudonym: "",
  routingDecisionId,
  inputBytes: 0,
  qualityLevel: "",
  privacyLevel: "",
});
const failure: Facts = { kind: "terminal", success: false, durationMs: 7, qualityScore: undefined, errorCode: "X", adapterUsed: "" };

test("only ends of requests that another coordinator decided are told, once each and for ten seconds", () => {
  const ends = new ForeignEnds();
  ends.decided("mine");
  for (const [interactionId, decisionId] of [
    ["i1", "mine"],
    ["i2", "theirs"],
    ["i3", ""],
  ] as const) {
    ends.observe([{ mcpId: "m", interactionId, facts: start(decisionId) }], 0);
    ends.observe([{ mcpId: "m", interactionId, facts: { kind: "progress" } }], 1);
    ends.observe([{ mcpId: "m", interactionId, facts: failure }], 2);
    ends.observe([{ mcpId: "m", interactionId, facts: failure }], 3);
  }
  const told = [{ decisionId: "theirs", mcpId: "m", success: false, durationMs: 7, quality: undefined, errorCode: "X", agoMs: 10_000 }];
  expect(ends.recent(10_002)).toEqual(told);
  expect(ends.recent(10_003)).toEqual([]);
});

test("an interaction of the same name at another MCP is another one", () => {
  const ends = new ForeignEnds();
  ends.observe([{ mcpId: "m", interactionId: "i", facts: start("theirs") }], 0);
  ends.observe([{ mcpId: "n", interactionId: "i", facts: failure }], 1);
  expect(ends.recent(2)).toEqual([]);
});
