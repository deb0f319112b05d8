import { toJson } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { InteractionSchema, InteractionState } from "../../../gen/mcp/coordinator/v1/events_pb.js";
import { interactionToProto, parseState, stateToProto } from "../../../src/wire/interaction.js";
import { interactionOf } from "../../support/rpc-ports.js";

describe("a merged interaction", () => {
  it("shows all that is known of it", () => {
    const known = { ...interactionOf("ocr", "i-1", 0), userPseudonym: "u", sessionId: "s", errorCode: "e", adapterUsed: "a" };
    const flags = { missingStart: true, conflictingTerminal: true, lateEvents: true };
    expect(toJson(InteractionSchema, interactionToProto({ ...known, ...flags }))).toEqual({
      mcpId: "ocr",
      interactionId: "i-1",
      state: "INTERACTION_STATE_COMPLETED",
      startedAt: "2026-05-31T23:59:58.499750Z",
      endedAt: "2026-06-01T00:00:00Z",
      lastEventAt: "2026-06-01T00:00:00Z",
      eventCount: 2,
      missingStart: true,
      conflictingTerminal: true,
      lateEvents: true,
      requestType: "search",
      userPseudonym: "u",
      sessionId: "s",
      processingTime: "1.500250s",
      success: true,
      qualityScore: 0.5,
      errorCode: "e",
      adapterUsed: "a",
    });
  });

  it("tells what is not known from what is zero", () => {
    const unknown = { startedAtUs: undefined, endedAtUs: undefined, durationMs: undefined, success: undefined, qualityScore: undefined };
    const bare = interactionToProto({ ...interactionOf("ocr", "i-1", 0), ...unknown });
    expect([bare.startedAt, bare.endedAt, bare.processingTime, bare.success, bare.qualityScore]).toEqual(Array(5).fill(undefined));
    const zero = interactionToProto({ ...interactionOf("ocr", "i-1", 0), durationMs: 0, success: false, qualityScore: 0 });
    expect([zero.processingTime?.nanos, zero.success, zero.qualityScore]).toEqual([0, false, 0]);
  });
});

describe("a state", () => {
  it("means the same both ways", () => {
    for (const [name, number] of Object.entries(stateToProto)) expect(parseState(number)).toBe(name);
  });

  it("that is unspecified means any, and a newer peer's is unknown", () => {
    expect(parseState(InteractionState.UNSPECIFIED)).toBe("any");
    expect(parseState(99 as InteractionState)).toBe("unknown"); // what a newer peer can send
  });
});
