import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type InteractionEvent, InteractionEventSchema } from "../../../gen/mcp/coordinator/v1/events_pb.js";
import { accept, type Bearer } from "../../../src/ingest/accept.js";
import { draftFromProto } from "../../../src/wire/event.js";
import { storedEventToProto } from "../../../src/wire/stored-event.js";
import { noonMs } from "../../support/draft.js";

const bearer: Bearer = { principal: { kind: "anyone" }, mcpId: "", producerId: "", epoch: 0, labels: {}, source: "grpc" };
const deps = { pseudonym: (id: string) => id, maxClockSkewMs: 600_000, dedupeHorizonMs: 86_400_000 };

const text = fc.string({ maxLength: 20, unit: "grapheme" }).filter((s) => !s.includes("\0"));
const share = fc.double({ min: 0, max: 1, noNaN: true }).map((n) => n + 0); // no negative zero: JSON has none
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const duration = fc.record({ seconds: fc.bigInt({ min: 0n, max: 10_000n }), nanos: fc.nat({ max: 999_999_999 }) });
const json = fc
  .dictionary(text, fc.jsonValue({ maxDepth: 3 }), { maxKeys: 4, noNullPrototype: true })
  .map((value) => JSON.parse(JSON.stringify(value).replaceAll("\\u0000", "")));
const payload = optional(
  fc.oneof(
    json.map((value) => ({ body: { case: "json" as const, value }, contentType: "" })),
    fc
      .tuple(fc.uint8Array({ maxLength: 30 }), text)
      .map(([value, contentType]) => ({ body: { case: "raw" as const, value }, contentType })),
    text.map((contentType) => ({ body: { case: undefined }, contentType })),
  ),
);
const usage = optional(fc.record({ cpuPercent: optional(fc.nat()), memoryBytes: optional(fc.nat()), gpuPercent: optional(fc.nat()) }));

/** Leaves out members that are undefined: an init object has absent fields, not undefined ones. */
const compact = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as T;

const detail = fc.oneof(
  fc
    .record({
      requestType: text,
      userId: text,
      inputBytes: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      qualityLevel: text,
      privacyLevel: text,
      parameters: optional(json),
      routingDecisionId: text,
      request: payload,
    })
    .map((value) => ({ case: "start" as const, value: compact(value) })),
  fc.record({ fraction: share, step: text, message: text, resourceUsage: usage, data: payload }).map((value) => ({
    case: "progress" as const,
    value: compact({ ...value, resourceUsage: value.resourceUsage && compact(value.resourceUsage) }),
  })),
  fc
    .record({
      success: optional(fc.boolean()),
      processingTime: optional(duration),
      outputBytes: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      qualityScore: optional(share),
      confidence: optional(share),
      adapterUsed: text,
      stepsExecuted: fc.array(text, { maxLength: 4 }),
      result: payload,
    })
    .map((value) => ({ case: "complete" as const, value: compact(value) })),
  fc
    .record({
      errorType: text,
      errorCode: text,
      errorMessage: text,
      retryable: fc.boolean(),
      processingTime: optional(duration),
      data: payload,
    })
    .map((value) => ({ case: "error" as const, value: compact(value) })),
);

const event = fc
  .record({
    sequence: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
    interactionId: text.filter((s) => s !== ""),
    nanos: fc.nat({ max: 999_999_999 }),
    parentInteractionId: text,
    traceParent: text,
    labels: fc.dictionary(
      text.filter((s) => s !== "" && s !== "__proto__"),
      text,
      { maxKeys: 4, noNullPrototype: true },
    ),
    sessionId: text,
    detail,
  })
  .map(({ nanos, ...more }) => {
    const occurredAt = { seconds: BigInt(noonMs / 1000) - 5n, nanos };
    return create(InteractionEventSchema, { mcpId: "demo", occurredAt, ...more } as Parameters<
      typeof create<typeof InteractionEventSchema>
    >[1]);
  });

describe("an event", () => {
  it("comes back from the store as it was sent, to the nanosecond and the byte", () => {
    fc.assert(
      fc.property(event, (sent) => {
        const received = fromBinary(InteractionEventSchema, toBinary(InteractionEventSchema, sent));
        const judged = accept(deps, bearer, draftFromProto(received, 1), noonMs);
        if (judged.kind === "refused") throw new Error(JSON.stringify(judged.verdict.violations));
        const { eventId, mcpId, interactionId, sequence, occurredAtUs, body, raw } = judged.event;
        const back: InteractionEvent = storedEventToProto({
          eventId,
          mcpId,
          interactionId,
          sequence,
          occurredAtUs,
          raw,
          body: JSON.parse(body),
        });
        expect(back).toEqual({ ...received, eventId });
      }),
      { numRuns: 300 },
    );
  });
});
