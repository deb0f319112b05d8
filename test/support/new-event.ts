import { randomBytes } from "node:crypto";
import { type Facts, type NewEvent, parseInteractionId, parseMcpId } from "../../src/interaction/event.js";
import { uuidV7FromHash } from "../../src/platform/uuid-v7.js";

/** An event that may be committed, of now; `more` overrides fields. Facts follow the kind unless given. */
export function newEvent(
  more: Partial<Omit<NewEvent, "mcpId" | "interactionId">> & { readonly mcpId?: string; readonly interactionId?: string } = {},
): NewEvent {
  const kind = more.kind ?? "progress";
  const nowMs = Date.now();
  return {
    eventId: freshId(nowMs),
    producerId: "",
    epoch: 0,
    sequence: 0n,
    resumeSequence: more.sequence ?? 0n,
    kind,
    occurredAtUs: nowMs * 1000,
    digest: "00112233445566778899aabbccddeeff",
    body: "{}",
    raw: undefined,
    facts: factsOf(kind),
    source: "grpc",
    encodedBytes: 60,
    costBytes: 100,
    ...more,
    mcpId: parseMcpId(more.mcpId ?? "mcp"),
    interactionId: parseInteractionId(more.interactionId ?? "interaction"),
  };
}

/** A new UUID version 7 of a time. */
export const freshId = (timeMs: number): string => uuidV7FromHash(timeMs, randomBytes(16).toString("hex"));

/** A name that no other test uses. */
export const freshName = (stem: string): string => `${stem}-${randomBytes(6).toString("hex")}`;

function factsOf(kind: NewEvent["kind"]): Facts {
  switch (kind) {
    case "start":
      return {
        kind: "start",
        requestType: "ocr",
        sessionId: "s-1",
        userPseudonym: "u_1",
        routingDecisionId: "",
        inputBytes: 0,
        qualityLevel: "",
        privacyLevel: "",
      };
    case "progress":
      return { kind: "progress" };
    default:
      return { kind: "terminal", success: kind === "complete", durationMs: 5, qualityScore: 0.5, errorCode: "", adapterUsed: "local" };
  }
}
