import fc from "fast-check";
import { expect, test } from "vitest";
import { draftOf } from "../../../src/client/report.js";
import { errorOf } from "../../../src/client/thrown.js";
import { eventInitOf } from "../../../src/client/wire/event.js";
import { decodeEvent, encodeEvent, withSequence } from "../../../src/client/wire/frames.js";
import { checkDraft } from "../../../src/interaction/check.js";
import { limits } from "../../../src/platform/limits.js";
import { mintUuidV7 } from "../../../src/platform/uuid-v7.js";
import { draftFromProto } from "../../../src/wire/event.js";

const nowMs = Date.UTC(2026, 10, 21);
const identity = { eventId: mintUuidV7(), mcpId: "ocr", interactionId: "i-1", labels: {} };
const kinds = ["start", "progress", "complete", "error"] as const;

test("whatever is reported, a report has faults, or the coordinator's own reading of what is sent has none and is the same", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...kinds),
      fc.anything({ withBigInt: true, withDate: true, withTypedArray: true, maxDepth: 3 }),
      (kind, report) => {
        const { draft, faults } = draftOf(kind, identity, report, nowMs);
        if (faults.length > 0 || checkDraft(draft).length > 0) return;
        const encoded = encodeEvent(eventInitOf(draft));
        const received = draftFromProto(decodeEvent(encoded), encoded.length);
        expect(checkDraft(received)).toEqual([]);
        expect(received.interactionId).toBe("i-1");
        expect(received.detail?.kind).toBe(kind);
      },
    ),
    { numRuns: 2_000 },
  );
});

test("fields have their documented names too, seconds become milliseconds, and members without a field are content", () => {
  const { draft, faults } = draftOf(
    "complete",
    identity,
    { success: true, output_size: 12, processing_time: 1.5, quality_score: 0.9, adapter_used: "local", pages: 3 },
    nowMs,
  );
  expect(faults).toEqual([]);
  expect(draft.detail).toMatchObject({
    ...{ success: true, outputBytes: 12n, processingTime: { seconds: 1n, nanos: 500_000_000 }, qualityScore: 0.9, adapterUsed: "local" },
    payload: { kind: "json", json: { pages: 3 } },
  });
});

test("each wrong value is named by its field", () => {
  const wrong = { requestType: 7, inputSize: -1, labels: { a: 1 }, parameters: [], request: { f: () => undefined } };
  const { faults } = draftOf("start", identity, wrong, nowMs);
  expect(faults.map(({ field, reason }) => `${field} ${reason}`)).toEqual([
    "labels MALFORMED",
    "requestType MALFORMED",
    "inputSize OUT_OF_RANGE",
    "parameters MALFORMED",
    "request UNREPRESENTABLE",
  ]);
});

test("a circle is refused as too deep", () => {
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  expect(draftOf("start", identity, { parameters: circle }, nowMs).faults).toMatchObject([{ field: "parameters", reason: "TOO_DEEP" }]);
});

test("labels of the reporter go with every event, and those of the report win", () => {
  const { draft } = draftOf("start", { ...identity, labels: { region: "eu", zone: "a" } }, { labels: { zone: "b" } }, nowMs);
  expect(draft.labels).toEqual({ region: "eu", zone: "b" });
});

test("whatever is thrown, its report passes the coordinator's rules", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.anything(),
        fc.string({ unit: "binary", maxLength: 200 }).map((text) => new Error(text.repeat(500))),
      ),
      (thrown) => {
        const { draft, faults } = draftOf("error", identity, errorOf(thrown), nowMs);
        expect([...faults, ...checkDraft(draft)]).toEqual([]);
      },
    ),
    { numRuns: 300 },
  );
  const hostile = {
    get message(): string {
      throw new Error("no");
    },
  };
  expect(errorOf(hostile)).toEqual({ errorType: "unreadable" });
  class UpstreamError extends Error {
    readonly code = "UPSTREAM_TIMEOUT";
  }
  expect(errorOf(new UpstreamError("late"))).toEqual({ errorType: "UpstreamError", errorCode: "UPSTREAM_TIMEOUT", errorMessage: "late" });
  expect(Buffer.byteLength(errorOf(new Error("ä".repeat(100_000))).errorMessage ?? "")).toBeLessThanOrEqual(limits.messageMaxBytes);
});

test("a sequence is added to an encoded event without decoding it", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), (sequence) => {
      const encoded = encodeEvent({ eventId: identity.eventId, interactionId: "i" });
      const decoded = decodeEvent(withSequence(encoded, sequence));
      expect(decoded.sequence).toBe(BigInt(sequence));
      expect(decoded.interactionId).toBe("i");
    }),
  );
});
